"""Measure the cost of a codec's tokens for a language model."""
