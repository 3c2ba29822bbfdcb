"""Descent by batches: with steps that are given, or that are found."""
