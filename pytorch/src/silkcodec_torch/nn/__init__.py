"""Define the Silk network in PyTorch: `model.SilkNetwork` = encoder -> quantizer -> decoder."""
