"""Define Silk's network in PyTorch: `model.SilkNetwork` connects the encoder, the quantizer and the decoder."""
