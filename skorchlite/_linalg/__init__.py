"""Operators that multiply like a matrix, products, and arithmetic beyond doubles; no rows."""
