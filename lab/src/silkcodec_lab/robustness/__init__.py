"""Measure the effect of bit errors and lost frames on quality."""
