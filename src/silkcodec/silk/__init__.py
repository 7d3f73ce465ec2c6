"""Implement Silk, the default codec. The modules from the bottom up; `docs/architecture.md` has a diagram.

weights_config.py  config.json of a weights folder
graph_file.py      rejects files that are not plain ONNX graphs
graphs.py          the graphs on ONNX Runtime
model.py           `FrameModel`: a frame's wave -> levels, and levels -> a frame's wave
framing.py         `FrameCutter`: samples -> frames
stream.py          `StreamEncoder`, `StreamDecoder`: samples -> codes, codes -> samples, incrementally
codec.py           `Silk`: whole recordings
weights/           the embedded weights
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
