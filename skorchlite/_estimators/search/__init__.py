"""Choosing the weight of a penalty, its kind and a degree by cross-validation."""
