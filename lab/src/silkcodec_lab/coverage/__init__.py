"""Measure how well a codebook covers languages that are not in its training set."""
