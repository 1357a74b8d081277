"""Many pictures: sorted by labels, found by words, compared with each other, or used to compare.

What is asked again is kept: `store.py` holds the features of every picture that was ever encoded,
by its content and the model.
"""
