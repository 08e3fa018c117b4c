"""A container renewed in its place: a new generation appended, unchanged arrays left where they are."""
