"""Test the selection of clips, the checks of options, and the format of estimates."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from silkcodec import audio
from silkcodec.errors import ArgumentError
from silkcodec_lab.command_options import pair_of_splits
from silkcodec_lab.metric_tables import estimate
from silkcodec_lab.selection import beginning, check_positive, select
from speechlike import speechlike


def test_clips_without_duration_are_skipped(tmp_path: Path) -> None:
    for i in range(12):
        audio.write(tmp_path / f"{i}.wav", speechlike(0.4, seed=i) if i % 2 else np.zeros(0, "f4"), 24_000)
    found = select([tmp_path], None, 60.0, 60.0, seed=0)
    assert len(found.train) + len(found.held_out) == 6
    assert found.train_s + found.held_out_s == pytest.approx(6 * 0.4)
    limited = select([tmp_path], None, 0.5, 60.0, seed=0)
    assert [seconds for _, seconds in limited.train] == pytest.approx([0.4, 0.1])


def test_the_beginning_of_a_recording_is_read(tmp_path: Path) -> None:
    audio.write(tmp_path / "speech.wav", speechlike(1.0), 24_000)
    whole = audio.read(tmp_path / "speech.wav")
    assert np.array_equal(beginning(tmp_path / "speech.wav", 0.3), whole[:7_200])
    assert np.array_equal(beginning(tmp_path / "speech.wav", 9.0), whole)


@pytest.mark.parametrize("value", [0.0, -1.0, math.inf, math.nan])
def test_values_must_be_finite_and_positive(value: float) -> None:
    check_positive("--seconds", 0.1)
    with pytest.raises(ArgumentError, match=f"--seconds must be a finite number above 0; got {value:g}"):
        check_positive("--seconds", value)


def test_the_splits_must_differ() -> None:
    assert pair_of_splits("train, valid") == ("train", "valid")
    for text in ("train", "train,train", "train,valid,test"):
        with pytest.raises(ArgumentError, match=f"got '{text}'"):
            pair_of_splits(text)


def test_an_estimate_has_an_interval_if_there_are_several_values() -> None:
    several = {"mean": 0.5, "low": 0.4, "high": 0.7, "n": 3}
    assert estimate(several, 1) == "0.5 [0.4, 0.7]"
    assert estimate(several, 0, scale=-100, signed=True) == "-50 [-70, -40]"
    assert estimate({"mean": 0.5, "low": None, "high": None, "n": 1}, 0, scale=100, signed=True) == "+50"
    assert estimate({"mean": None, "low": None, "high": None, "n": 3}, 1) == estimate(None, 1) == "-"
