"""Provide EnCodec, DAC, Mimi and SNAC as `silkcodec` codecs (extra [baselines])."""
