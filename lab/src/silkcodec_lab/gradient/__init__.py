"""Measure the accuracy of the straight-through gradient."""
