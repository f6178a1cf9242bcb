"""Predictions: a guess before, the truth after."""
