"""Provide classical codecs that implement the `Codec` protocol. `silkcodec.load` imports them only when needed."""
