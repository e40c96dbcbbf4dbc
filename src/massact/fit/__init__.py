"""Fit growth curves: pure forms, one curve by lmfit, many curves at once."""
