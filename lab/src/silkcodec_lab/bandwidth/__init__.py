"""Measure the effect of lower token and bit rates on speech quality."""
