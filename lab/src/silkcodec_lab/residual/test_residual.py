"""Test residual quantization of one vector, the selection of the moment, and the page."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from silkcodec import audio
from silkcodec.cli import app
from silkcodec.errors import ArgumentError, AudioError
from silkcodec.evaluate.results import rounded
from silkcodec_lab import pages
from silkcodec_lab.chains import ResidualChain
from silkcodec_lab.residual.experiment import DB, band_centers_hz, columns, errors_db, follow, residual
from silkcodec_torch.quantizers import Codebook
from speechlike import speechlike


def book(entries: Any) -> Codebook:
    table = torch.tensor(entries, dtype=torch.float32)
    made = Codebook(*table.shape)
    made.entries.copy_(table)
    return made


# --- the chain: arithmetic


def test_a_chain_of_halves_quantizes_numbers_in_binary() -> None:
    """With entries of +-1/2, +-1/4, ..., the error of a number in [-1, 1] after k stages is at most 2^-k."""
    chain = ResidualChain([book([[-(2.0**-k)], [2.0**-k]]) for k in range(1, 17)])
    for value in (0.3, -0.7123, 1.0, 0.0):
        vector = np.array([value], dtype=np.float32)
        stages, sums = follow(chain, vector, np.zeros(1, dtype=np.float32))
        for k, stage in enumerate(stages, 1):
            assert abs(float(vector[0]) - sums[k - 1, 0]) <= 2.0**-k
            assert stage["error_db"] == pytest.approx(DB * abs(float(vector[0]) - sums[k - 1, 0]))
            assert stage["sum_off_by"] == 0.0


def test_each_stage_takes_the_entry_nearest_to_the_residual() -> None:
    chain = ResidualChain([book([[8, 0], [0, 8], [-8, 0]]), book([[1, 0], [0, 4]]), book([[5, 5], [9, 9]])])
    stages, sums = follow(chain, np.array([8.0, 3.0], dtype=np.float32), np.array([0.0, 0.0], dtype=np.float32))
    assert [stage["entry"] for stage in stages] == [0, 1, 0]
    assert sums.tolist() == [[8, 0], [8, 4], [13, 9]]
    assert [stage["sum_off_by"] for stage in stages] == [0.0] * 3
    assert [stage["share_left"] for stage in stages] == [9 / 73, 1 / 73, (25 + 36) / 73]
    assert stages[1]["error_db"] == pytest.approx(DB * math.sqrt(1 / 2))
    assert stages[1]["next_best_db"] == pytest.approx(DB * math.sqrt((1 + 9) / 2))
    assert stages[0]["cosine"] == pytest.approx(8 / math.sqrt(73)) and stages[2]["cosine"] < 0
    assert (
        stages[2]["error_db"] > stages[2]["before_db"]
    )  # Without an entry of zero, the nearest entry can increase the error.
    assert [b["before_db"] for b in stages[1:]] == [a["error_db"] for a in stages[:-1]]


def test_entries_and_residual_add_up_to_the_vector() -> None:
    vectors = torch.randn((400, 16), generator=torch.Generator().manual_seed(0))
    chain = ResidualChain.fit(vectors, [16] * 6, seed=0)
    for vector in vectors[:20]:
        stages, sums = follow(chain, vector.numpy(), np.zeros(16, dtype=np.float32))
        assert max(stage["sum_off_by"] for stage in stages) < 1e-12
        assert np.allclose(sums[-1], chain.quantize(vector[None])[0], atol=1e-5)
        assert errors_db(chain, vector[None]) == pytest.approx([stage["error_db"] for stage in stages], rel=1e-4)


def test_every_codebook_reduces_the_training_error() -> None:
    vectors = torch.randn((600, 8), generator=torch.Generator().manual_seed(1))
    errors = errors_db(ResidualChain.fit(vectors, [8] * 10, seed=0), vectors)
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.5 * errors[0]


# --- the vector


def test_the_column_is_at_the_requested_moment(tmp_path: Path) -> None:
    """Test with a tone that changes from 1 kHz to 4 kHz after 2 s."""
    time_s = np.arange(96_000) / 24_000
    tones = 0.3 * np.sin(2 * np.pi * np.where(time_s < 2, 1_000, 4_000) * time_s)
    audio.write(tmp_path / "tones.wav", tones.astype(np.float32), 24_000)
    for at_s, hz in ((0.0, 1_000), (1.9, 1_000), (2.1, 4_000), (3.97, 4_000)):
        found = residual(tmp_path / "tones.wav", at_s, n_codebooks=2, entries=2)
        assert band_centers_hz()[int(np.argmax(found["vector"]))] == pytest.approx(hz, rel=0.05)
        assert found["settings"]["at_s"] == pytest.approx(at_s)
    assert (
        len(columns(tones.astype(np.float32))) == 398
    )  # of 400 columns, without those that need samples after the end


# --- the experiment


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clips")
    for i in range(3):
        audio.write(folder / f"{i}.wav", speechlike(3.0, seed=i), 24_000)
    return folder


@pytest.fixture(scope="module")
def result(clips: Path) -> dict[str, Any]:
    return rounded(residual(clips / "0.wav", 1.0, speech=[clips], n_codebooks=8, entries=16))


def test_the_result_of_an_experiment(result: dict[str, Any], clips: Path) -> None:
    assert len(result["stages"]) == 8 and list(result["sums"]) == ["1", "2", "4", "8"]
    assert result["speech"]["n_clips"] == 2  # The recording itself is not in the training set.
    assert result["speech"]["duration_s"] == pytest.approx(2 * 2.98)
    assert max(stage["sum_off_by"] for stage in result["stages"]) < 1e-12
    left = np.array(result["vector"]) - result["sums"]["8"]
    assert DB * np.sqrt(np.square(left).mean()) == pytest.approx(result["stages"][-1]["error_db"], rel=1e-3)
    assert result["train_error_db"][-1] < result["recording_error_db"][-1]
    assert (
        rounded(residual(clips / "0.wav", 1.0, speech=[clips], n_codebooks=8, entries=16))["stages"]
        == (result["stages"])
    )


def test_without_other_speech_the_moment_is_excluded_from_training(clips: Path) -> None:
    steps: list[tuple[int, int, str]] = []
    found = residual(clips / "0.wav", 1.0, n_codebooks=2, entries=16, progress=lambda *step: steps.append(step))
    assert [step[:2] for step in steps] == [(1, 2), (2, 2)]
    assert found["settings"]["fitted_to"] == "recording"
    assert found["speech"]["duration_s"] == pytest.approx(2.98 - 1.01)


def test_the_page_contains_the_measurements(result: dict[str, Any], tmp_path: Path) -> None:
    written, figure = pages.write(result, tmp_path)
    text = written.read_text(encoding="utf-8")
    assert text == pages.render(result) and figure.read_bytes().startswith(b"\x89PNG")
    assert f"{result['stages'][-1]['error_db']:.2f} dB" in text and "| 8 | 32 |" in text
    assert "overfit" not in text and "The check failed" not in text
    assert "overfits" in pages.render({**result, "train_error_db": [2.0, 1.0] + 6 * [0.0]})
    result["stages"][3]["sum_off_by"] = 0.5
    result["settings"]["file"] = "my recording.wav"
    assert "The check failed" in pages.render(result) and "residual 'my recording.wav' --at" in pages.render(result)


@pytest.mark.parametrize(
    ("at_s", "options", "says"),
    [
        (3.5, {}, "must be between 0 and 2.98 s"),
        (-0.1, {}, "must be between 0 and 2.98 s"),
        (math.nan, {}, "must be between 0 and 2.98 s"),
        (1.0, {"n_codebooks": 33}, "--codebooks must be between 1 and 32"),
        (1.0, {"entries": 1}, "at least 2"),
        (1.0, {"entries": 256}, "lower --entries"),
        (1.0, {"speech": ["0.wav"]}, "recordings other than"),
        (1.0, {"speech": ["1.wav"], "minutes": math.inf}, "--minutes must be a finite number above 0; got inf"),
    ],
)
def test_invalid_arguments_are_errors(
    clips: Path, monkeypatch: pytest.MonkeyPatch, at_s: float, options: Any, says: str
) -> None:
    monkeypatch.chdir(clips)
    with pytest.raises(ArgumentError, match=says):
        residual("0.wav", at_s, **options)


def test_a_missing_file_is_an_error() -> None:
    with pytest.raises(AudioError):
        residual("nowhere.wav", 0.0)


def test_the_command_writes_result_page_and_figure(
    clips: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["lab", "residual", str(clips / "0.wav"), "--at", "1.2", "-o", "out", "--speech", str(clips / "1.wav")]
    words += ["--codebooks", "4", "--entries", "32"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in Path("out").iterdir()) == ["residual.json", "residual.md", "residual.png"]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1) and "already exists" in done.stderr
