"""Measure one loaded model on one set of tokens; keep one record per (weights, tokens, protocol)."""

from massact.extract.measure import Measurement, measure

__all__ = ["Measurement", "measure"]
