"""in_place."""
