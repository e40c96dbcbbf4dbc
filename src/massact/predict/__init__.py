"""Predict curves from the architecture alone, with honest scores."""
