"""What scikit-learn and the array API ask of estimators."""
