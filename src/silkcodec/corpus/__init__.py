"""A corpus of speech as tokens: `tokenize` makes it, `read` reads it back. Extras [corpus], and [ray] for clusters.

items, sources      what there is: folders, manifests, Lhotse cuts, WebDataset tars, Hugging Face datasets
plan                which recordings are in which shard, decided first
shard, rows         the pure unit of work: recordings -> codec -> a Parquet file or a tar, the same bytes every time
local, ray          who does it: processes here, or a cluster
ledger, run         what is done; resume after any end; the report
checking            whether a corpus is whole and undamaged
reading, listen     rows again, and their sound

The format and the guarantees: docs/corpus.md. Nothing is imported before it is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from silkcodec.corpus.checking import check
    from silkcodec.corpus.reading import Corpus, read
    from silkcodec.corpus.rows import Row
    from silkcodec.corpus.run import Options, tokenize

_HOMES = {
    **{"Corpus": "reading", "read": "reading", "Row": "rows", "Options": "run", "tokenize": "run"},
    "check": "checking",
}

__all__ = ["Corpus", "Options", "Row", "check", "read", "tokenize"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
