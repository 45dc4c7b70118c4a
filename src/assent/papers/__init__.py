"""One file a paper: citation, composition, statements and their check."""
