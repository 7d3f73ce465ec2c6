"""Measure how the quantization error of VQ, RVQ and FSQ depends on the number of bits."""
