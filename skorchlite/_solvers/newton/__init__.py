"""Newton steps and preconditioned descent on all rows, with bounds on what is left."""
