"""Measure how the quantization errors of VQ, RVQ and FSQ depend on codebook size."""
