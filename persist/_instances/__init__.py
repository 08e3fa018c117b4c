"""_instances."""
