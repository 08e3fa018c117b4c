"""joblib's array wrappers inside pickles, of every release."""
