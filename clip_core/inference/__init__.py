"""Faster inference and its caches: encoders, batching, threads, memory."""
