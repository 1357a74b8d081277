"""What a deployment installs: the lock, and what is known of its packages: `python -m supply`."""
