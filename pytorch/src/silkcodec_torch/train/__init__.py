"""Train and export codecs: `data`, then `loop` (with `losses`), then `export`."""
