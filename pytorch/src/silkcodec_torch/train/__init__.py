"""Train and export codecs."""
