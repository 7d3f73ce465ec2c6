"""Measure the effect of lower token and bit rates on the quality of speech."""
