"""Descent on all rows that holds no matrix of columns by columns."""
