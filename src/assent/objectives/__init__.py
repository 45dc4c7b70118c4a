"""Scores in, one loss per row out: one file per paper family."""
