"""Assent: learn what people agree on from the preferences they recorded."""
