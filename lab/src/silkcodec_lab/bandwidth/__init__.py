"""Measure the effect of fewer tokens and bits per second on the quality of speech."""
