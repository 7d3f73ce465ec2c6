"""Silk, the default codec: the main path, in the order to read it. `docs/architecture.md` draws it.

    stream.py          samples or codes as they come -> what is ready; the only path through the model
    codec.py           `Silk`: whole recordings through a stream, and the model's graphs on ONNX Runtime
    graph_file.py      refuses a graph that is not a plain ONNX file
    weights_config.py  config.json of a folder of weights
    weights/           the embedded weights
"""

from silkcodec.silk.codec import EMBEDDED, MIDDLE_LEVEL, PROVIDERS, Silk, States, load
from silkcodec.silk.stream import StreamDecoder, StreamEncoder

__all__ = ["EMBEDDED", "MIDDLE_LEVEL", "PROVIDERS", "Silk", "States", "StreamDecoder", "StreamEncoder", "load"]
