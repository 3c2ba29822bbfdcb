"""Rows as blocks of tensors, wherever they live."""
