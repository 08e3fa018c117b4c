"""_upgrade."""
