"""Explanations of an answer: heat maps, layer traces, similarities, caveats."""
