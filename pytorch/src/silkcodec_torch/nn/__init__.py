"""Define the Silk network in PyTorch: `model.SilkModel` = encoder -> quantizer -> decoder."""
