"""Rewrite a container in place: append a new generation and keep unchanged arrays where they are."""
