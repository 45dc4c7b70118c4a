"""Weights for examples and tokens."""
