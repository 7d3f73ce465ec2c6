"""Measure the quantization error of VQ, RVQ and FSQ by codebook size."""
