"""joblib."""
