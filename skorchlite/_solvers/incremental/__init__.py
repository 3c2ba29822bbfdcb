"""Learners of chunks, of which no row is kept."""
