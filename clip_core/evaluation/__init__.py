"""Comparison of prompts, wordings and models on labelled images."""
