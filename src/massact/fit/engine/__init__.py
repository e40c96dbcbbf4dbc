"""The batched engine: a scan over the rates, refinement, the way to parameters that can be drawn."""
