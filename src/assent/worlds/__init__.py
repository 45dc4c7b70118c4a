"""Small worlds with known truth, for demos, tests and claims."""
