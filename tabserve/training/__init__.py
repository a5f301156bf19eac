"""A table in, a fitted and evaluated model out."""
