"""The tab "Many pictures" and the four tabs within it."""
