"""What is measured: problems, models, files."""
