"""Operators that multiply like matrices, Gram products, and arithmetic beyond doubles."""
