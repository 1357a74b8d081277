"""The command line: `python -m clip_core`."""
