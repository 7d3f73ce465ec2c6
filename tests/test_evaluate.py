"""The run: same clips for every codec, nothing dropped without a word, nothing measured twice."""

from __future__ import annotations

import importlib.util
import json
from ctypes.util import find_library
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from silkcodec import audio
from silkcodec.errors import ArgumentError, AudioError, OutputError, TokensError
from silkcodec.evaluate import report, run, summary
from silkcodec.evaluate.clips import find_clips
from silkcodec.tokens import Tokens
from speechlike import speechlike

RATE = 24_000
METRICS = ["si_sdr_db", "mel_distance", "level_db"]  # those that need no extra


class Quiet:
    """A codec that keeps the wave in its memory and returns it at a fraction of its level."""

    sample_rate = RATE
    codebook_sizes = (2,)
    frame_rates = (100.0,)

    def __init__(self, name: str, gain: float, weights: str = "000000000000") -> None:
        self.name, self.gain, self.weights = name, gain, weights
        self.waves: dict[int, Any] = {}
        self.encoded = 0

    def encode(self, wave: Any, sample_rate: int, *, n_codebooks: int | None = None) -> Tokens:
        self.encoded += 1
        wave = audio.as_wave(wave, sample_rate, RATE)
        self.waves[len(wave)] = wave
        codes = (np.zeros(-(-len(wave) // 240), dtype=np.int64),)
        return Tokens(
            codes, self.codebook_sizes, self.frame_rates, RATE, len(wave), f"{self.name}@{self.weights}"
        )

    def decode(self, tokens: Tokens) -> Any:
        return self.gain * self.waves[tokens.n_samples]


class Failing(Quiet):
    """Refuses what is longer than a second."""

    def decode(self, tokens: Tokens) -> Any:
        if tokens.n_samples > RATE:
            raise TokensError("tokens must be short; got long ones.")
        return super().decode(tokens)


class Broken(Quiet):
    """Returns NaN."""

    def decode(self, tokens: Tokens) -> Any:
        return np.full(tokens.n_samples, np.nan, dtype=np.float32)


@pytest.fixture
def codecs(monkeypatch: pytest.MonkeyPatch) -> dict[str, Quiet]:
    made = {
        "half": Quiet("half", 0.5),
        "same": Quiet("same", 1.0),
        "mute": Quiet("mute", 0.0),
        "failing": Failing("failing", 1.0),
        "broken": Broken("broken", 1.0),
    }
    monkeypatch.setattr(run, "load", lambda name, **options: made[name])
    run._codec.cache_clear()
    return made


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    """Four clips, one of them silent, and their index: speaker ann and language pt are also in training."""
    rows = [
        ("a.wav", "ann", "en", "train"),
        ("b.wav", "bob", "pt", "train"),
        ("v/1.wav", "ann", "pt_BR", "valid"),
        ("v/2.wav", "eve", "pt", "valid"),
        ("v/3.wav", "unknown", "zh", "valid"),
        ("v/silent.wav", "eve", "zh", "valid"),
    ]
    folder = tmp_path / "corpus"
    (folder / "v").mkdir(parents=True)
    for index, (name, *_rest) in enumerate(rows):
        wave = speechlike(0.5 + 0.25 * index, seed=index)
        audio.write(folder / name, 0 * wave if "silent" in name else wave, RATE)
    lines = ["path\tspeaker\tlanguage\tsplit\tnote"] + ["\t".join((*row, "x" * 200)) for row in rows]
    (folder / "INDEX.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def evaluate(corpus: Path, names: list[str], **options: Any) -> dict[str, Any]:
    defaults: dict[str, Any] = {"split": "valid", "metric_names": METRICS, "jobs": 1}
    return run.evaluate([corpus], names, **defaults | options)


# --- clips -------------------------------------------------------------------------------------------------


def test_clips_of_a_split_carry_their_columns(corpus: Path) -> None:
    clips = find_clips([corpus / "INDEX.tsv"], split="valid")
    assert [clip.name for clip in clips] == ["v/1.wav", "v/2.wav", "v/3.wav", "v/silent.wav"]
    assert [clip.columns["speaker_seen"] for clip in clips] == ["seen", "unseen", "unknown", "unseen"]
    assert [clip.columns["language_seen"] for clip in clips] == ["seen", "seen", "unseen", "unseen"]
    assert "note" not in clips[0].columns and "path" not in clips[0].columns
    assert find_clips([corpus], split="valid") == clips  # a folder stands for its index


def test_clips_of_folders_and_files(corpus: Path) -> None:
    names = [clip.name for clip in find_clips([corpus])]
    assert names == ["a.wav", "b.wav", "v/1.wav", "v/2.wav", "v/3.wav", "v/silent.wav"]
    assert [clip.name for clip in find_clips([corpus / "v/1.wav", corpus / "a.wav"])] == ["a.wav", "v/1.wav"]


def test_a_limit_draws_the_same_clips_for_the_same_seed(corpus: Path) -> None:
    draws = [[clip.name for clip in find_clips([corpus], limit=3, seed=seed)] for seed in (0, 0, 1, 2, 3)]
    assert draws[0] == draws[1] and len(draws[0]) == 3
    assert len({tuple(draw) for draw in draws}) > 1


@pytest.mark.parametrize(
    ("inputs", "options", "error", "message"),
    [
        ([], {}, ArgumentError, "at least"),
        (["nowhere"], {}, AudioError, "nowhere"),
        (["."], {"limit": 0}, ArgumentError, "limit"),
        (["INDEX.tsv"], {"split": "test"}, AudioError, "train, valid"),
        (["a.wav"], {"split": "valid"}, ArgumentError, "index"),
        (["empty"], {}, AudioError, "holds none"),
        (["bad.tsv"], {}, AudioError, "'path'"),
        (["gone.tsv"], {}, AudioError, r"nothing\.wav"),
    ],
)
def test_bad_clips_are_refused(
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    inputs: list[str],
    options: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    monkeypatch.chdir(corpus)
    (corpus / "empty").mkdir()
    (corpus / "bad.tsv").write_text("a\tb\n1\t2\n")
    (corpus / "gone.tsv").write_text("path\nnothing.wav\n")
    with pytest.raises(error, match=message):
        find_clips(inputs, **options)


# --- the run -----------------------------------------------------------------------------------------------


def test_a_result_holds_what_is_known_of_the_codecs(corpus: Path, codecs: dict[str, Quiet]) -> None:
    result = evaluate(corpus, ["half", "same"])
    half, same = result["means"]["half"], result["means"]["same"]
    assert half["level_db"]["mean"] == pytest.approx(20 * np.log10(0.5), abs=1e-3)
    assert same["level_db"]["mean"] == 0.0 == same["mel_distance"]["mean"]
    assert half["si_sdr_db"]["mean"] == same["si_sdr_db"]["mean"] == 100.0
    rates = result["codecs"]["half"]
    assert (rates["tokens_per_second"], rates["bits_per_second"], rates["n_failed"]) == (100.0, 100.0, 0)
    assert result["clips"]["n"] == 4
    assert result["differences"]["of"] == "half"
    difference = result["differences"]["minus"]["same"]["level_db"]
    assert difference["mean"] == pytest.approx(20 * np.log10(0.5), abs=1e-3)


def test_a_silent_clip_is_counted_and_reported(corpus: Path, codecs: dict[str, Quiet]) -> None:
    result = evaluate(corpus, ["half"])
    assert result["means"]["half"]["level_db"]["n"] == 3
    left_out = [(entry["clip"], entry["metric"]) for entry in result["left_out"]]
    assert left_out == [("v/silent.wav", metric) for metric in METRICS]
    assert "silence" in report.to_markdown(result)


def test_a_codec_that_returns_silence_is_scored_not_dropped(corpus: Path, codecs: dict[str, Quiet]) -> None:
    result = evaluate(corpus, ["mute"])
    assert result["means"]["mute"]["si_sdr_db"] == {"mean": -100.0, "low": -100.0, "high": -100.0, "n": 3}


def test_a_clip_that_one_codec_fails_counts_for_none(corpus: Path, codecs: dict[str, Quiet]) -> None:
    result = evaluate(corpus, ["half", "failing"])  # only v/1.wav, of 1 s, goes through `failing`
    assert result["codecs"]["failing"]["n_failed"] == 3
    assert result["means"]["half"]["level_db"]["n"] == result["means"]["failing"]["level_db"]["n"] == 1
    assert any("tokens must be short" in entry["reason"] for entry in result["left_out"])


def test_a_codec_that_fails_everywhere_does_not_take_the_others_along(
    corpus: Path, codecs: dict[str, Quiet]
) -> None:
    result = evaluate(corpus, ["half", "broken"])
    assert result["codecs"]["broken"]["n_failed"] == 4
    assert result["means"]["half"]["level_db"]["n"] == 3
    assert result["means"]["broken"]["level_db"]["mean"] is None
    text = report.to_markdown(result)
    assert "0/4" in text and "finite" in text


def test_groups_split_the_means(corpus: Path, codecs: dict[str, Quiet]) -> None:
    groups = evaluate(corpus, ["half"], by=["speaker_seen", "language"])["groups"]
    assert {value: group["n_clips"] for value, group in groups["speaker_seen"].items()} == {
        "seen": 1,
        "unknown": 1,
        "unseen": 2,
    }
    assert list(groups["language"]) == ["pt", "pt_BR", "zh"]
    assert groups["language"]["zh"]["codecs"]["half"]["level_db"]["n"] == 1


def test_nothing_is_measured_twice(corpus: Path, codecs: dict[str, Quiet], tmp_path: Path) -> None:
    out = tmp_path / "quality.json"
    first = evaluate(corpus, ["half"], out=out)
    assert json.loads(out.read_text()) == first == report.load_result(out)
    assert codecs["half"].encoded == 1 + 4  # once for its name

    done: list[tuple[int, int, str]] = []
    again = evaluate(corpus, ["half"], out=out, overwrite=True, progress=lambda *args: done.append(args))
    assert codecs["half"].encoded == 2 + 4 and done == []
    assert {**again, "created": ""} == {**first, "created": ""}

    evaluate(corpus, ["half", "same"], out=out, overwrite=True)  # one codec more: only that one
    assert (codecs["half"].encoded, codecs["same"].encoded) == (3 + 4, 1 + 4)

    codecs["half"].weights = "111111111111"  # a codec of other weights is another codec
    evaluate(corpus, ["half", "same"], out=out, overwrite=True)
    assert (codecs["half"].encoded, codecs["same"].encoded) == (4 + 8, 2 + 4)

    evaluate(corpus, ["half"], out=out, overwrite=True, fresh=True)
    assert codecs["half"].encoded == 5 + 12


def test_an_interrupted_run_goes_on(corpus: Path, codecs: dict[str, Quiet], tmp_path: Path) -> None:
    out = tmp_path / "quality.json"

    def stop_after_two(done: int, total: int, clip: str) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(corpus, ["half"], out=out, progress=stop_after_two)
    assert not out.exists()
    rows = run.rows_file(out)
    rows.write_bytes(rows.read_bytes()[:-20])  # killed in the middle of the second row
    evaluate(corpus, ["half"], out=out)
    assert codecs["half"].encoded == (1 + 2) + (1 + 3)
    kept = [json.loads(line) for line in rows.read_text().splitlines() if line.endswith("}}")]
    assert sorted(row["clip"] for row in kept) == ["v/1.wav", "v/2.wav", "v/3.wav", "v/silent.wav"]


def test_a_changed_clip_is_measured_again(corpus: Path, codecs: dict[str, Quiet], tmp_path: Path) -> None:
    out = tmp_path / "quality.json"
    evaluate(corpus, ["half"], out=out)
    audio.write(corpus / "v/1.wav", speechlike(2.0, seed=9), RATE, overwrite=True)
    evaluate(corpus, ["half"], out=out, overwrite=True)
    assert codecs["half"].encoded == (1 + 4) + (1 + 1)


def test_outputs_and_arguments_are_checked_before_any_codec_is_loaded(
    corpus: Path, codecs: dict[str, Quiet], tmp_path: Path
) -> None:
    out = tmp_path / "quality.json"
    out.write_text("mine")
    with pytest.raises(OutputError, match="exists"):
        evaluate(corpus, ["half"], out=out)
    for options in ({"jobs": 0}, {"metric_names": ["mos"]}, {"limit": 0}):
        with pytest.raises(ArgumentError):
            evaluate(corpus, ["half"], **options)
    assert codecs["half"].encoded == 0
    assert out.read_text() == "mine"


def test_an_unreadable_clip_is_reported(corpus: Path, codecs: dict[str, Quiet]) -> None:
    (corpus / "v/2.wav").write_bytes(b"no audio at all")
    result = evaluate(corpus, ["half"])
    assert [entry["clip"] for entry in result["left_out"] if entry["metric"] == "all"] == ["v/2.wav"]
    assert str(corpus) not in json.dumps(result), "a result names clips, not places on this machine"


@pytest.mark.skipif(
    importlib.util.find_spec("opuslib") is None or find_library("opus") is None,
    reason="needs opuslib ([classical]) and libopus",
)
def test_processes_change_nothing(corpus: Path) -> None:
    run._codec.cache_clear()
    results = [evaluate(corpus, ["opus:6k"], jobs=jobs) for jobs in (1, 2)]
    for key in ("means", "groups", "left_out", "clips"):
        assert results[0][key] == results[1][key]


# --- the statistics ----------------------------------------------------------------------------------------


def test_the_interval_is_the_textbook_one_for_normal_values() -> None:
    values = np.random.default_rng(0).normal(2.0, 0.5, 400)
    entry = summary.bootstrap(list(values))
    half_width = 1.96 * values.std() / np.sqrt(400)
    assert entry["mean"] == pytest.approx(values.mean())
    assert entry["low"] == pytest.approx(values.mean() - half_width, abs=0.1 * half_width)
    assert entry["high"] == pytest.approx(values.mean() + half_width, abs=0.1 * half_width)
    assert entry == summary.bootstrap(list(values))


def test_intervals_of_none_and_one() -> None:
    assert summary.bootstrap([]) == {"mean": None, "low": None, "high": None, "n": 0}
    assert summary.bootstrap([3.0]) == {"mean": 3.0, "low": 3.0, "high": 3.0, "n": 1}


# --- the report --------------------------------------------------------------------------------------------


def test_the_report_is_whole_tables_with_every_codec(corpus: Path, codecs: dict[str, Quiet]) -> None:
    text = report.to_markdown(evaluate(corpus, ["half", "same"]))
    assert "| half | 100.0 | 1 | 100.0 | 100 | 100.0 [100.0, 100.0] |" in text
    for block in text.split("\n\n"):
        widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1, block


def test_a_foreign_file_is_no_result(tmp_path: Path) -> None:
    for content in ("{}", "[1]", "no JSON"):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(ArgumentError, match="silk evaluate"):
            report.load_result(tmp_path / "x.json")
