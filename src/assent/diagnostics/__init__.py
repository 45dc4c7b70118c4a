"""Functions of scores and gradients that tell whether training works."""
