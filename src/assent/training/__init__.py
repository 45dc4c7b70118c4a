"""The trainer and everything that moves parameters."""
