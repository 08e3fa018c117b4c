"""Interpreter helpers: garbage collection, plug-in discovery, lazy imports and expressions."""
