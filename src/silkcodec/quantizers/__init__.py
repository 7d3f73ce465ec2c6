"""PyTorch quantizers behind one interface; see `fsq.FSQ`."""

from silkcodec.quantizers.fsq import FSQ, Quantized

__all__ = ["FSQ", "Quantized"]
