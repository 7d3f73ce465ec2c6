"""Build the players: for each clip the reference and the output of every codec, as sound and as a spectrogram.

The sound is embedded in the page as 16-bit FLAC. Without scripts each wave is a plain `<audio>` element. With scripts
all waves of a clip play in sync and all but one are muted (player.js).
"""

from __future__ import annotations

import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from silkcodec import audio, picture
from silkcodec.evaluate.html.columns import signed
from silkcodec.evaluate.html.markup import Markup, el
from silkcodec.evaluate.html.tables import swatch
from silkcodec.evaluate.listening import REFERENCE, Listening
from silkcodec.evaluate.metrics import is_silent, rms_dbfs
from silkcodec.mel import HOP, SAMPLE_RATE, log_mel

Wave = NDArray[np.float32]

_MARKS_HZ = (500, 2000, 6000)


def players(listening: Sequence[Listening], colours: dict[str, int]) -> Markup:
    """Return one player per clip, under a row of tabs if there are several clips."""
    tabs = [
        el(
            "button",
            one.clip,
            type="button",
            role="tab",
            id=f"tab-{i}",
            aria_controls=f"clip-{i}",
            aria_selected="true" if i == 0 else "false",
            tabindex="0" if i == 0 else "-1",
        )
        for i, one in enumerate(listening)
    ]
    row = el("div", *tabs, class_="tabs", role="tablist", aria_label="Clips", hidden=True) if len(tabs) > 1 else None
    return el("div", row, *(_player(i, one, colours, len(tabs) > 1) for i, one in enumerate(listening)), id="players")


def _player(index: int, one: Listening, colours: dict[str, int], tabbed: bool) -> Markup:
    duration_s = max(len(wave) for wave in one.waves.values()) / one.sample_rate
    pictures = _spectrograms(list(one.waves.values()), one.sample_rate)
    gains_db, levels = matching_gains_db(one.waves), levels_db(one.waves)
    tracks = [
        _track(index, i, name, colours.get(name), _flac(wave, one.sample_rate), image, gains_db[name], levels[name])
        for i, ((name, wave), image) in enumerate(zip(one.waves.items(), pictures, strict=True))
    ]
    return el(
        "div",
        el("h3", one.clip),
        _transport(duration_s),
        el("fieldset", el("legend", "Heard now", class_="unseen"), *tracks, _time_axis(duration_s), class_="tracks"),
        class_="clip",
        id=f"clip-{index}",
        role="tabpanel" if tabbed else None,
        aria_labelledby=f"tab-{index}" if tabbed else None,
        data_duration=f"{duration_s:.6f}",
    )


def _transport(duration_s: float) -> Markup:
    return el(
        "div",
        el("button", el("span", "Play", class_="unseen"), type="button", class_="play", title="Play or pause (space)"),
        el(
            "input",
            type="range",
            class_="seek",
            min="0",
            max=f"{duration_s:.3f}",
            step="0.01",
            value="0",
            aria_label="Position in seconds",
        ),
        el("output", f"0.0 / {duration_s:.1f} s", class_="time", aria_live="off"),
        el("label", el("input", type="checkbox", class_="loop"), "Loop"),
        el(
            "label",
            el("input", type="checkbox", class_="match"),
            "Match levels",
            title="Brings every output to the reference's level; off: as the codecs made them",
        ),
        class_="transport",
        hidden=True,
    )


def _track(
    clip: int,
    index: int,
    name: str,
    colour: int | None,
    sound: str,
    image: bytes,
    gain_db: float,
    level_db: float | None,
) -> Markup:
    mark = el("i", class_="swatch plain", aria_hidden="true") if colour is None else swatch(colour)
    level = "silent" if level_db is None else f"{signed(level_db, 1)} dB"
    return el(
        "div",
        el(
            "label",
            el(
                "input",
                type="radio",
                name=f"track-{clip}",
                value=index,
                checked=index == 0,
                data_gain_db=f"{gain_db:.3f}",
            ),
            el("kbd", f"{index + 1}" if index < 9 else "", aria_hidden="true"),
            mark,
            el("span", name, class_="codec"),
            None if name == REFERENCE else el("small", level, title="Its level against the reference's"),
        ),
        el(
            "div",
            el("img", src=_uri("image/png", image), alt=f"Spectrogram of {name}", draggable="false"),
            _frequencies(),
            el("audio", controls=True, preload="none", src=sound, aria_label=name),
            class_="picture",
        ),
        class_="track",
    )


def levels_db(waves: dict[str, Wave]) -> dict[str, float | None]:
    """Return the RMS level of each wave relative to the reference in dB; None if either is silent."""
    if is_silent(waves[REFERENCE]):
        return dict.fromkeys(waves, None)
    aim_db = rms_dbfs(waves[REFERENCE])
    return {name: None if is_silent(wave) else rms_dbfs(wave) - aim_db for name, wave in waves.items()}


def matching_gains_db(waves: dict[str, Wave]) -> dict[str, float]:
    """Return the gain in dB that matches each wave to the reference level, all lowered equally to avoid clipping."""
    gains_db = {name: -(level_db or 0.0) for name, level_db in levels_db(waves).items()}
    peaks = [float(np.abs(wave).max()) * 10 ** (gains_db[name] / 20) for name, wave in waves.items()]
    headroom_db = 20 * float(np.log10(max(1.0, *peaks)))
    return {name: gain_db - headroom_db for name, gain_db in gains_db.items()}


def _spectrograms(waves: Sequence[Wave], sample_rate: int) -> list[bytes]:
    """Return a picture of each wave on a common colour scale, without the columns that only hold padding."""
    at_24k = [audio.as_wave(wave, sample_rate, SAMPLE_RATE) for wave in waves]
    return picture.bare_spectrograms([log_mel(wave)[: -(-len(wave) // HOP)] for wave in at_24k])


def _flac(wave: Wave, sample_rate: int) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "wave.flac"
        audio.write(path, wave, sample_rate)
        return _uri("audio/flac", path.read_bytes())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def _frequencies() -> Markup:
    marks = [
        el("text", f"{hz / 1000:g} kHz", x="6", y=f"{100 * (1 - picture.band_height(hz)):.1f}%", dy="3")
        for hz in _MARKS_HZ
    ]
    return el("svg", *marks, class_="frequencies", aria_hidden="true")


def _time_axis(duration_s: float) -> Markup:
    step = picture.time_step_s(duration_s)
    marks = []
    for i in range(int(duration_s / step + 1e-9) + 1):
        x = f"{100 * i * step / duration_s:.3f}%"
        anchor = "start" if i == 0 else "end" if i * step > 0.985 * duration_s else "middle"
        marks += [
            el("line", x1=x, x2=x, y1="0", y2="5"),
            el("text", picture.clock(i * step, step), x=x, y="17", text_anchor=anchor),
        ]
    return el("div", el("span", "seconds"), el("svg", *marks, height="22", aria_hidden="true"), class_="track seconds")
