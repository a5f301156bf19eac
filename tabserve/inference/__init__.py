"""Rows in, prediction records out."""
