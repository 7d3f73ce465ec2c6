"""Read Lhotse manifests of cuts and recordings without using Lhotse.

A cut is a part of a file, and a recording is a whole file. Cuts that are mixed or padded, or have transforms other
than resampling, are rejected. Shell commands in a manifest are never run. See
https://lhotse.readthedocs.io/en/latest/cuts.html.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from silkcodec.corpus.items import Refusal, seconds

SUPERVISION_COLUMNS = ("text", "speaker", "language", "gender")


def is_cut(row: Mapping[str, Any]) -> bool:
    """Return whether a line of a manifest is a Lhotse cut."""
    return str(row.get("type", "")).endswith("Cut") and "id" in row


def part(cut: Mapping[str, Any]) -> tuple[str, dict[str, Any], dict[str, str]]:
    """Return the path of a cut's audio file, the `Item` fields that select the cut, and its metadata.

    Raises:
        Refusal: the cut is damaged, or cannot be used without Lhotse.
    """
    kind = cut.get("type")
    if kind not in ("MonoCut", "MultiCut"):
        raise Refusal(
            "row", f"A cut must be a MonoCut or a MultiCut; got '{str(kind)[:40]}'. Save the audio of this cut first."
        )
    recording = cut.get("recording")
    if not isinstance(recording, dict):
        raise Refusal(
            "row", "A cut must have a recording; this cut does not. Cuts that have only features cannot be used."
        )
    _check_transforms(recording)
    source, channel = _source(recording.get("sources"), cut.get("channel"))
    fields = {
        "start_s": seconds(cut.get("start"), "start") or 0.0,
        "duration_s": seconds(cut.get("duration"), "duration"),
        "channel": channel,
    }
    return source, fields, _known(cut.get("supervisions"))


def is_recording(row: Mapping[str, Any]) -> bool:
    """Return whether a line of a manifest is a Lhotse recording."""
    return isinstance(row.get("sources"), list) and "id" in row and "sampling_rate" in row


def whole(recording: Mapping[str, Any]) -> str:
    """Return the path of a Lhotse recording. Raises Refusal if the recording is not a single file."""
    _check_transforms(recording)
    sources = recording["sources"]
    channels = sources[0].get("channels") if len(sources) == 1 and isinstance(sources[0], dict) else None
    if not isinstance(channels, list):
        got = "a source without such a list" if len(sources) == 1 else f"{len(sources)} sources"
        raise Refusal("row", f"A recording must have one source with a list of channels; got {got}.")
    return _source(sources, channels)[0]


def _check_transforms(recording: Mapping[str, Any]) -> None:
    """Raise Refusal if a recording has transforms other than resampling."""
    transforms = recording.get("transforms") or []
    known = isinstance(transforms, list) and all(isinstance(one, dict) for one in transforms)
    if not known or any(one.get("name") != "Resample" for one in transforms):
        raise Refusal("row", "A recording must not have transforms. Save the transformed audio first.")


def _source(sources: object, channel: object) -> tuple[str, int | None]:
    """Return the path of a cut's audio file, and the index of the channel to use (None for all channels)."""
    wanted = channel if isinstance(channel, list) else [0 if channel is None else channel]
    for source in sources if isinstance(sources, list) else []:
        held = source.get("channels") if isinstance(source, dict) else None
        if not isinstance(held, list) or not all(one in held for one in wanted):
            continue
        if source.get("type") != "file" or not isinstance(source.get("source"), str) or not source["source"]:
            shown = str(source.get("type"))[:40]
            raise Refusal("row", f"A recording must be a file; got the source type '{shown}'.")
        if len(wanted) == len(held):
            return source["source"], None
        if len(wanted) == 1:
            return source["source"], held.index(wanted[0])
    raise Refusal("row", f"A cut must use one channel or all channels of a file; got {str(channel)[:40]}.")


def _known(supervisions: object) -> dict[str, str]:
    """Return the metadata of a cut from its supervisions, with their texts joined."""
    rows: Sequence[Any] = supervisions if isinstance(supervisions, list) else []
    known: dict[str, str] = {}
    for column in SUPERVISION_COLUMNS:
        values = [row[column] for row in rows if isinstance(row, dict) and isinstance(row.get(column), str)]
        if column == "text" and values:
            known[column] = " ".join(values)
        elif values and len(set(values)) == 1:
            known[column] = values[0]
    return known
