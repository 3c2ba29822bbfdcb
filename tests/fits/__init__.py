"""Whole fits: accuracy, swaps, certified data, textbooks."""
