"""The estimators: parameters, fit and predict; the one place where all the rest meets."""
