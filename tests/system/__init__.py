"""Processes, files, memory, cards."""
