"""Silk, the default codec. The main path, from the bottom up; `docs/architecture.md` draws it.

weights_config.py  config.json of a folder of weights; graph_file.py: refuses what is not a plain ONNX graph
graphs.py          the graphs on ONNX Runtime
model.py           `FrameModel`: a frame's wave -> levels, and levels -> a frame's wave
framing.py         `FrameCutter`: samples -> frames
stream.py          `StreamEncoder`, `StreamDecoder`: what has come -> what is ready
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
