"""Foreign codecs behind the same `Codec` protocol as Silk. Nothing is imported here: `load` does it."""
