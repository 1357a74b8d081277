"""Decoding of image files that strangers wrote."""
