"""Losses, penalties and moments, and their sum over a row source."""
