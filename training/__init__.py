"""Rebuilds the bundled model from package registries alone: `python -m training`."""
