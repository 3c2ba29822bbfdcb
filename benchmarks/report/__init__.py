"""The record of a run, as JSON and Markdown."""
