"""Prepare the audio and the spectrograms for the players of the report.

The audio is embedded in the page as 16-bit FLAC.
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from silkcodec import audio, picture
from silkcodec.audio.resampling import Wave
from silkcodec.evaluate.listening import REFERENCE, Listening
from silkcodec.evaluate.metrics import is_silent, rms_dbfs
from silkcodec.mel import HOP, SAMPLE_RATE, log_mel


def players(listening: Sequence[Listening]) -> list[dict[str, Any]]:
    """Return the template data for each clip: its name, duration, tracks, and ticks of the time axis."""
    return [_player(one) for one in listening]


def _player(one: Listening) -> dict[str, Any]:
    duration_s = max(len(wave) for wave in one.waves.values()) / one.sample_rate
    pictures = _spectrograms(list(one.waves.values()), one.sample_rate)
    gains_db, levels = matching_gains_db(one.waves), levels_db(one.waves)
    tracks = [
        {
            "name": name,
            "sound": _flac(wave, one.sample_rate),
            "picture": _uri("image/png", image),
            "gain_db": gains_db[name],
            "level_db": levels[name],
        }
        for (name, wave), image in zip(one.waves.items(), pictures, strict=True)
    ]
    step = picture.time_step_s(duration_s)
    marks = [(i * step, picture.clock(i * step, step)) for i in range(int(duration_s / step + 1e-9) + 1)]
    return {"clip": one.clip, "duration_s": duration_s, "tracks": tracks, "marks": marks}


def levels_db(waves: dict[str, Wave]) -> dict[str, float | None]:
    """Return the RMS level of each waveform in dB relative to the reference, or None if either is silent."""
    if is_silent(waves[REFERENCE]):
        return dict.fromkeys(waves, None)
    aim_db = rms_dbfs(waves[REFERENCE])
    return {name: None if is_silent(wave) else rms_dbfs(wave) - aim_db for name, wave in waves.items()}


def matching_gains_db(waves: dict[str, Wave]) -> dict[str, float]:
    """Return the gains in dB that bring all waveforms to the reference's level, or to a lower one to avoid clipping."""
    gains_db = {name: -(level_db or 0.0) for name, level_db in levels_db(waves).items()}
    peaks = [float(np.abs(wave).max()) * 10 ** (gains_db[name] / 20) for name, wave in waves.items()]
    headroom_db = 20 * float(np.log10(max(1.0, *peaks)))
    return {name: gain_db - headroom_db for name, gain_db in gains_db.items()}


def _spectrograms(waves: Sequence[Wave], sample_rate: int) -> list[bytes]:
    """Draw the spectrograms of waveforms as PNG images with a common color scale."""
    at_24k = [audio.as_wave(wave, sample_rate, SAMPLE_RATE) for wave in waves]
    return picture.bare_spectrograms([log_mel(wave)[: -(-len(wave) // HOP)] for wave in at_24k])


def _flac(wave: Wave, sample_rate: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wave.flac"
        audio.write(path, wave, sample_rate)
        return _uri("audio/flac", path.read_bytes())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
