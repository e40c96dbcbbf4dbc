"""What a fit allows one to say: derived quantities, errors, intervals, regimes."""
