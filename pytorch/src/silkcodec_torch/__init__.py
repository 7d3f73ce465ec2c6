"""Train and export Silk's network in PyTorch.

    cli.py         `silk train` and `silk export`
    nn/            the network: encoder, decoder, discriminators
    quantizers/    FSQ, which Silk uses, and VQ, RVQ and multi-scale RVQ, for comparison
    train/         training from a TOML config, and export to ONNX with a model card
    hf/            Hugging Face Transformers classes for Silk ([hf] extra)
    metrics/       speaker similarity and DistillMOS for `silk compare`
    baselines/     EnCodec, DAC, Mimi and SNAC, for comparison ([baselines] extra)

`silkcodec` does not import `silkcodec_torch`; it runs the exported graphs with ONNX Runtime.
"""

__version__ = "0.2.0"
