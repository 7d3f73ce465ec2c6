"""Quantization error by codebook size: VQ, RVQ and FSQ at equal bits."""
