"""Check that a corpus is complete and undamaged (`silk tokenize --check`)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from silkcodec.corpus import ledger
from silkcodec.corpus.plan import read_header
from silkcodec.corpus.tokenized import shard_rows
from silkcodec.errors import ArgumentError


def check(folder: str | os.PathLike[str]) -> dict[str, Any]:
    """Check that all shards of a corpus exist and are undamaged.

    Args:
        folder: folder of the corpus.

    Returns:
        A dict with three keys. "shards" is the number of shards in the plan. "rows" is the number of rows in the valid
        shards. "problems" is a list with one dict {"file", "problem"} for each missing or damaged shard.

    Raises:
        ArgumentError: the folder has no plan.
        OutputError: the ledger cannot be read.
    """
    folder = Path(folder)
    header = read_header(folder)
    if header is None:
        raise ArgumentError(f"--check requires a folder written by silk tokenize; there is no plan.json in '{folder}'.")
    records = ledger.read(folder, str(header["hash"]))
    n_shards, n_rows = int(header["n_shards"]), 0
    problems = []
    for index in range(n_shards):
        record = records.get(index)
        name = f"shard {index}" if record is None else str(record.get("file", f"shard {index}"))
        problem = "it has no entry in the ledger" if record is None else ledger.problem(folder, record)
        if record is not None and problem is None:
            try:
                found = sum(1 for _ in shard_rows(os.fspath(folder / name)))
                if found != record.get("rows"):
                    problem = f"it contains {found} rows, but its ledger entry has {record.get('rows')}"
                n_rows += found
            except ArgumentError as error:
                problem = str(error)
        if problem is not None:
            problems.append({"file": name, "problem": problem})
    return {"shards": n_shards, "rows": n_rows, "problems": problems}
