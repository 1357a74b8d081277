"""Many images: found, decoded, encoded, ranked, searched and organized."""
