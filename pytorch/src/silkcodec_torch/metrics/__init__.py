"""Provide metrics that need PyTorch. The `silkcodec.metrics` entry point group adds them to `silk compare`.

speaker.py      speaker similarity
distillmos.py   opinion scores, predicted from the output alone
inference.py    runs PyTorch models reproducibly
"""
