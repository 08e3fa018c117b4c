"""_restore."""
