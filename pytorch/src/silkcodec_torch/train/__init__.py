"""Train and export codecs: `data` prepares the audio, `loop` trains with `losses`, and `export` writes ONNX graphs."""
