"""Measure the error after each codebook of a residual quantizer."""
