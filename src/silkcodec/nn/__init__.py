"""The Silk network in PyTorch: `model.SilkModel` = encoder -> quantizer -> decoder."""
