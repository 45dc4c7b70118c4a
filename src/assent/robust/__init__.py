"""Wrappers for noisy labels, and the estimation of reliabilities."""
