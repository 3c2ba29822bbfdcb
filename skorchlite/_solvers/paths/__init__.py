"""Least squares for many penalties at once, from moments of the rows."""
