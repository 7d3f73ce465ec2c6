"""Provide EnCodec, DAC, Mimi and SNAC as `silkcodec` codecs ([baselines] extra)."""
