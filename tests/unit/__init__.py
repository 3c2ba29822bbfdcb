"""What one part of the package does."""
