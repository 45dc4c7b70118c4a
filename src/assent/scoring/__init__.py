"""A model and a batch in, scores out."""
