"""Provide baseline codecs with the same `Codec` protocol as Silk. `load` imports a codec only when it is needed."""
