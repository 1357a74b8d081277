"""Model files: found, downloaded, read, converted and built."""
