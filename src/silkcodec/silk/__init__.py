"""Implement Silk, the default codec. See `docs/architecture.md` for a diagram.

weights_config.py  reads config.json in a weights folder
graph_file.py      rejects ONNX files with external weights or subgraphs
graphs.py          runs the graphs with ONNX Runtime
model.py           `FrameModel`: encodes and decodes frames
framing.py         `FrameCutter`: cuts samples into frames
stream.py          `StreamEncoder`, `StreamDecoder`: encode and decode incrementally
codec.py           `Silk`: encodes and decodes whole recordings
weights/           the weights that ship with the package
"""

from silkcodec.silk.codec import Silk, load
from silkcodec.silk.framing import FrameCutter
from silkcodec.silk.graphs import PROVIDERS, States
from silkcodec.silk.model import EMBEDDED, MIDDLE_LEVEL, FrameModel
from silkcodec.silk.stream import StreamDecoder, StreamEncoder

__all__ = [
    "EMBEDDED",
    "MIDDLE_LEVEL",
    "PROVIDERS",
    "FrameCutter",
    "FrameModel",
    "Silk",
    "States",
    "StreamDecoder",
    "StreamEncoder",
    "load",
]
