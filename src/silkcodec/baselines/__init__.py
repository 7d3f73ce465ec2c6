"""Baseline codecs behind the same `Codec` protocol as Silk. `load` imports the one it needs; this file imports none."""
