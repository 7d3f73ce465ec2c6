"""Train and export codecs: `data` prepares the audio, `loop` runs the training, and `export` writes ONNX graphs."""
