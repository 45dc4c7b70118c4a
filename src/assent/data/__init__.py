"""Files and hub ids in, examples and tokens out."""
