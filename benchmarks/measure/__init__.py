"""How: in turns, in processes of their own, under a cap."""
