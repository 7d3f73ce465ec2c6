"""Provide EnCodec, DAC, Mimi and SNAC as codecs of `silkcodec` (extra [baselines])."""
