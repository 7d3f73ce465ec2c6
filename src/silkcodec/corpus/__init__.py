"""Create a corpus of speech tokens with `tokenize`, and read it with `read`.

This package requires the [corpus] extra. Runs on a cluster also require the [ray] extra.

items, sources      list the recordings in folders, manifests, Lhotse cuts, WebDataset tars or Hugging Face datasets
plan                assigns the recordings to shards before encoding starts
shard, rows         encode the recordings of a shard, and write a Parquet file or tar with reproducible bytes
local, ray          run the encoding in processes on this machine, or on a cluster
ledger, tokenizing  record the finished shards, resume interrupted runs, and write the report
checking            checks that a corpus is complete and undamaged
tokenized           reads the rows of a corpus
detokenizing        decodes rows to audio files

docs/corpus.md describes the format and the guarantees. Submodules are imported on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from silkcodec.corpus.checking import check
    from silkcodec.corpus.rows import Row
    from silkcodec.corpus.tokenized import Corpus, read
    from silkcodec.corpus.tokenizing import Options, tokenize

_HOMES = {
    "Corpus": "tokenized",
    "Options": "tokenizing",
    "Row": "rows",
    "check": "checking",
    "read": "tokenized",
    "tokenize": "tokenizing",
}

__all__ = ["Corpus", "Options", "Row", "check", "read", "tokenize"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
