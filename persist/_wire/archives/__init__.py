"""ZIP and tar: directories read with checks against overlap, climbing names and lies about sizes."""
