"""Preference games in exact tables: matrices, equilibria, the mirror family, regret; float64 throughout."""
