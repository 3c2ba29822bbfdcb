"""What minimises an objective: full-batch solvers, and descent by batches."""
