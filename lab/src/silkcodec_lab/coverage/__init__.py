"""Measure whether a codebook covers a language that is not in its training set."""
