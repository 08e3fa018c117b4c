"""Databases in files: dbm in all its kinds, SQLite, TensorFlow's sorted string tables."""
