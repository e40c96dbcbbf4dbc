"""Measurements over training: tidy tables, aggregation, the published format."""
