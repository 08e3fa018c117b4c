"""Keras configurations: layers and their weights by name, of every generation."""
