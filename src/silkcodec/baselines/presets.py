"""Check the preset, i.e. the part of a codec name after the colon."""

from __future__ import annotations

from collections.abc import Sequence

from silkcodec.errors import ArgumentError


def choose(codec: str, preset: str | None, presets: Sequence[str], default: str) -> str:
    """Check and return the given preset, or return the default preset if none is given.

    Args:
        codec: name of the codec, for error messages.
        preset: the given preset, or None.
        presets: presets of the codec.
        default: default preset.

    Raises:
        ArgumentError: the preset is unknown.

    >>> choose("mimi", None, ["1", "2", "3"], "2")
    '2'
    """
    if preset is None:
        return default
    if preset not in presets:
        numbers = list(presets) == [str(n) for n in range(1, len(presets) + 1)]
        choice = f"between 1 and {len(presets)}" if numbers else f"one of {', '.join(presets)}"
        raise ArgumentError(f"The preset of '{codec}' must be {choice}; got '{preset}'.")
    return preset
