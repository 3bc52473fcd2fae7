"""Searches for hyperparameters, and what their results say."""
