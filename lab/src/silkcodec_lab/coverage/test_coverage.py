"""Test coverage with known distributions, the grid, the bootstrap over speakers, and the page."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from silkcodec import audio
from silkcodec.cli import app
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.clips import Clip, find_clips
from silkcodec.evaluate.results import rounded
from silkcodec_lab import pages
from silkcodec_lab.coverage import vector_fits
from silkcodec_lab.coverage.answer import answer
from silkcodec_lab.coverage.experiment import (
    UNSEEN,
    CoveragePlan,
    coverage,
    difference,
    interval,
    limit_codebooks,
    measure,
    split,
    weighted_quantile,
)
from silkcodec_lab.coverage.speech import Patches, Speaker, bandwidth_of, mel_patches, speakers_of
from silkcodec_lab.coverage.vector_fits import NestedChain, NestedGrid
from speechlike import speechlike

SAMPLES = Path(__file__).resolve().parents[4] / "samples"
TINY = CoveragePlan(vq=(8,), rvq_entries=4, rvq_lengths=(1, 2), folds=2)


def speakers(n: int, draw: Any, name: str = "train", source: str = "") -> list[Speaker]:
    return [Speaker(f"{name}{i}", source, draw(np.random.default_rng([i, len(name)])).astype("f4")) for i in range(n)]


def normal(n: int = 1_500, width: int = 1, shift: float = 0.0) -> Any:
    return lambda generator: generator.normal(shift, 1, (n, width))


def groups_of(train: list[Speaker], tests: dict[str, Sequence[Speaker]], plan: CoveragePlan) -> dict[str, Any]:
    return measure(train, tests, plan, lambda *_: None)


# --- known coverage


def test_vectors_of_the_training_distribution_have_the_expected_coverage() -> None:
    found = groups_of(speakers(12, normal(width=4)), {"same": speakers(12, normal(width=4), "same")}, TINY)
    assert found["control"] == UNSEEN and found["n_folds"] == 2
    for one in found["quantizers"].values():
        for group in ("seen", UNSEEN, "same"):
            assert one["groups"][group]["inside"]["mean"] == pytest.approx(0.95, abs=0.01)
            assert sum(one["groups"][group]["histogram"]) == pytest.approx(1)
        assert one["against_unseen"]["same"]["inside"]["mean"] == pytest.approx(0, abs=0.01)
        assert one["against_unseen"]["same"]["log_error"]["mean"] == pytest.approx(0, abs=0.02)


@pytest.mark.parametrize("shift", [0.5, 1.0, 3.0])
def test_a_shifted_group_has_the_expected_coverage(shift: float) -> None:
    # The only entry is the mean, so the error of a normal number is its absolute value, and the radius is 1.96.
    plan = CoveragePlan(vq=(1,), rvq_entries=1, rvq_lengths=(1,), folds=2)
    found = groups_of(speakers(12, normal()), {"shifted": speakers(8, normal(shift=shift), "shifted")}, plan)
    known = 0.5 * (math.erf((1.96 - shift) / math.sqrt(2)) - math.erf((-1.96 - shift) / math.sqrt(2)))
    for name in ("vq 1", "rvq 1x1", "fsq 0"):
        assert found["quantizers"][name]["radius_db"] == pytest.approx(1.96, abs=0.06)
        assert found["quantizers"][name]["groups"]["shifted"]["inside"]["mean"] == pytest.approx(known, abs=0.025)
        gap = found["quantizers"][name]["against_unseen"]["shifted"]["inside"]
        assert gap["mean"] == pytest.approx(known - 0.95, abs=0.03) and gap["high"] < 0


def test_a_codebook_adapts_to_its_training_vectors_and_a_grid_does_not() -> None:
    def mostly_left(generator: np.random.Generator) -> np.ndarray:
        values = generator.uniform(-1, 1, (2_000, 1))
        return np.where(generator.random((2_000, 1)) < 0.98, -np.abs(values), np.abs(values))

    vectors = mostly_left(np.random.default_rng(0)).astype("f4")
    left, right = (np.linspace(a, b, 4_001)[:, None].astype("f4") for a, b in ((-1, 0), (0, 1)))
    chain = NestedChain(vectors, 16, [1], 0, 10)
    assert chain.measure(right)[1].error.mean() > 1.5 * chain.measure(left)[1].error.mean()

    even = np.linspace(-1, 1, 8_001)[:, None].astype("f4")
    grid = NestedGrid(even, [4], 0)
    errors = [grid.measure(part)[4].error.mean() for part in (left, right)]
    assert errors[0] == pytest.approx(errors[1], rel=0.01)
    ((bits, width),) = grid.allocations[4].values()
    assert bits == 4 and errors[0] == pytest.approx(width * even.std() / 4, rel=0.05)  # mean error of a uniform level


# --- quantizers


def test_the_grid_allocates_its_bits_by_variance() -> None:
    vectors = (np.random.default_rng(0).normal(size=(3_000, 3)) * [8, 2, 0.01]).astype("f4")
    grid = NestedGrid(vectors, [0, 1, 4, 9], 0)
    for bits, allocation in grid.allocations.items():
        assert sum(own for own, _ in allocation.values()) == bits
    assert grid.allocations[4][0][0] == 3 and grid.allocations[4][1][0] == 1  # 2 bits more for 4 times the spread
    errors = [grid.measure(vectors)[bits].error.mean() for bits in (0, 1, 4, 9)]
    assert errors == sorted(errors, reverse=True)
    assert grid.measure(100 * vectors)[9].clipped.mean() > grid.measure(vectors)[9].clipped.mean()


def test_the_grid_is_invariant_to_rotation() -> None:
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(2_000, 4)) * [4, 2, 1, 0.5]
    turn = np.linalg.qr(generator.normal(size=(4, 4)))[0]
    plain, turned = ((v + 5).astype("f4") for v in (vectors, vectors @ turn))
    errors = [NestedGrid(v, [6], 0).measure(v)[6].error for v in (plain, turned)]
    assert errors[0].mean() == pytest.approx(errors[1].mean(), rel=1e-3)


def test_more_codebooks_reduce_the_error() -> None:
    vectors = np.random.default_rng(0).normal(size=(500, 3)).astype("f4")
    found = NestedChain(vectors, 8, [1, 2, 4], 0, 10).measure(vectors)
    assert found[4].error.mean() < found[2].error.mean() < found[1].error.mean()


def test_every_codebook_has_a_grid_with_equal_bits() -> None:
    vectors = np.random.default_rng(0).normal(size=(300, 4)).astype("f4")
    fitted, facts = vector_fits.fit(vectors, (8, 32), (4, (1, 3)), 0, 5)
    assert list(facts) == ["vq 8", "vq 32", "rvq 1x4", "rvq 3x4", "fsq 2", "fsq 3", "fsq 5", "fsq 6"]
    assert set(vector_fits.measure(fitted, vectors)) == set(facts)
    for fact in facts.values():
        assert f"fsq {fact['bits']}" in facts


# --- bootstrap over speakers


def test_the_bootstrap_draws_speakers_not_vectors() -> None:
    rates = np.array([0.2, 0.9, 0.5, 0.8, 0.6])
    found = interval(rates, 0, "a")
    error = rates.std() / math.sqrt(5)
    assert (found["mean"], found["n"]) == (pytest.approx(0.6), 5)
    assert found["high"] - found["low"] == pytest.approx(2 * 1.96 * error, rel=0.15)
    apart = difference(rates, rates[:3], 0, "a")
    error = math.hypot(error, rates[:3].std() / math.sqrt(3))
    assert apart["mean"] == pytest.approx(0.6 - rates[:3].mean())
    assert apart["high"] - apart["low"] == pytest.approx(2 * 1.96 * error, rel=0.15)
    assert interval(rates[:1], 0, "a")["low"] is None and difference(rates, rates[:1], 0, "a")["low"] is None


def test_more_vectors_of_the_same_speakers_do_not_narrow_an_interval() -> None:
    def group(n: int) -> list[Speaker]:
        return [Speaker(f"t{i}", "", np.random.default_rng(i).normal(i / 2, 1, (n, 1)).astype("f4")) for i in range(6)]

    plan = CoveragePlan(vq=(1,), rvq_entries=1, rvq_lengths=(1,), folds=2)
    widths = []
    for n in (300, 3_000):
        inside = groups_of(speakers(6, normal()), {"t": group(n)}, plan)["quantizers"]["vq 1"]["groups"]["t"]["inside"]
        widths.append(inside["high"] - inside["low"])
    assert widths[1] == pytest.approx(widths[0], rel=0.2)


def test_every_speaker_has_the_same_weight() -> None:
    assert weighted_quantile([np.zeros(1), np.ones(999)], 0.49) == 0
    assert weighted_quantile([np.zeros(1), np.ones(999)], 0.51) == 1
    found = groups_of(
        speakers(4, normal()), {"t": [*speakers(1, normal(50, shift=99), "t"), *speakers(1, normal(5_000), "u")]}, TINY
    )
    assert found["quantizers"]["rvq 1x4"]["groups"]["t"]["inside"]["mean"] == pytest.approx(0.475, abs=0.02)


def test_only_seen_speakers_are_measured_by_their_own_fit() -> None:
    # Source b is far away. If it is held out, it is not covered, even if a test group has the same source.
    a, b = speakers(4, normal(), "a", "a"), speakers(4, normal(shift=50), "b", "b")
    tests = {"t": speakers(3, normal(shift=50), "t", "b"), "u": speakers(3, normal(shift=50), "u", "c")}
    by_source = groups_of([*a, *b], tests, CoveragePlan(**{**vars(TINY), "hold_out": "source"}))["quantizers"]["vq 8"][
        "groups"
    ]
    assert by_source["t"]["inside"]["mean"] < 0.01 and by_source[UNSEEN]["by_source"]["b"]["inside"] < 0.01
    assert by_source["u"]["inside"]["mean"] == pytest.approx(0.475, abs=0.02)  # one of the two folds includes source b
    by_speaker = groups_of([*a, *b], tests, TINY)["quantizers"]["vq 8"]["groups"]
    assert by_speaker["t"]["inside"]["mean"] == pytest.approx(0.95, abs=0.06)


def test_folds_hold_out_every_speaker_once() -> None:
    train = speakers(7, normal(10))
    folds = split(train, TINY)
    assert sorted(name for fold in folds for name in fold) == [speaker.name for speaker in train]
    assert split(train[:1], TINY) == [set()]
    assert limit_codebooks(TINY, train).vq == (4,)  # 24 vectors of 3 speakers suffice for 6 entries, rounded down to 4


# --- speech


def test_vectors_do_not_depend_on_level_and_high_frequencies() -> None:
    wave = speechlike(3.0, seed=1)
    plain = mel_patches(wave, Patches())
    assert plain.shape[1] == Patches().width and len(plain) > 20
    assert np.abs(mel_patches(wave * 0.1, Patches()) - plain).max() < 0.02
    tone = np.sin(2 * np.pi * 10_000 * np.arange(len(wave)) / 24_000)
    hiss = (0.5 * tone * np.hanning(len(wave))).astype("f4")
    assert np.abs(mel_patches(wave + hiss, Patches()) - plain).max() < 1.0
    assert len(mel_patches(np.zeros(24_000, "f4"), Patches())) == 0
    assert len(mel_patches(np.zeros(10, "f4"), Patches())) == 0


def test_the_mean_patch_is_subtracted() -> None:
    one = speakers(1, normal(width=3))[0]
    colored = Speaker(one.name, "", one.vectors + np.array([3, -2, 7], "f4"))
    assert np.abs(colored.without_channel().vectors - one.without_channel().vectors).max() < 1e-5


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("coverage")
    rows = ["path\tsource\tlanguage\tspeaker\tbandwidth_hz_est"]
    for i in range(10):
        audio.write(folder / f"{i}.wav", speechlike(4.0, seed=i), 24_000)
        language = "en" if i < 5 else "zh_TW" if i < 8 else "ar"
        rows.append(f"{i}.wav\t{'ab'[i % 2]}\t{language}\tvoice {i}\t{4_000 if i == 9 else 8_000}")
    (folder / "INDEX.tsv").write_text("\n".join(rows) + "\n")
    return folder / "INDEX.tsv"


def test_filters_select_clips_and_low_bandwidth_is_skipped(index: Path) -> None:
    assert len(find_clips([f"{index}:language=zh*|ar"])) == 5
    assert len(find_clips([f"{index}:language=en,source=a"])) == 3 and len(find_clips([index.parent])) == 10
    found = speakers_of(f"{index}:language=ar", Patches(), 0)
    assert [speaker.name for speaker in found] == ["a/voice 8"]  # The other has a bandwidth of 4 kHz.
    assert (found[0].source, found[0].bandwidth_hz) == ("a", 8_000)
    assert len(speakers_of(f"{index}:language=en", Patches(), 0, without=["a/voice 0"])) == 4
    wrong = Clip(Path("a.wav"), "a.wav", {"bandwidth_hz_est": "wide"})
    with pytest.raises(ArgumentError, match=r"bandwidth_hz_est must be a number; got 'wide' for 'a\.wav'"):
        bandwidth_of(wrong)


@pytest.fixture(scope="module")
def result(index: Path) -> dict[str, Any]:
    tests = {"mandarin": f"{index}:language=zh*", "arabic": f"{index}:language=ar"}
    plan = CoveragePlan(vq=(16,), rvq_entries=8, rvq_lengths=(1, 2), hold_out="source", folds=2)
    return json.loads(json.dumps(rounded(coverage(f"{index}:language=en", tests, plan=plan))))


def test_a_result_describes_groups_and_settings(result: dict[str, Any], index: Path) -> None:
    assert {name: group["n_speakers"] for name, group in result["groups"].items()} == {
        "unseen": 5,
        "mandarin": 3,
        "arabic": 1,
    }
    for view in result["views"].values():
        for one in view["quantizers"].values():
            assert one["groups"]["seen"]["inside"]["mean"] == pytest.approx(0.95, abs=0.03)
            assert one["against_unseen"]["arabic"]["inside"]["low"] is None
    assert "; Arabic " in answer(result)  # One speaker has no interval.
    assert str(index.parent) not in json.dumps(result) and str(Path.home()) not in json.dumps(result)


def test_the_page_matches_the_json(result: dict[str, Any], tmp_path: Path) -> None:
    pages.write_json(result, tmp_path / "coverage.json")
    written, figure = pages.write(pages.load_result(tmp_path / "coverage.json"), tmp_path / "pages")
    text = written.read_text(encoding="utf-8")
    assert "--train SPEECH:language=en --test 'mandarin=SPEECH:language=zh*'" in text
    assert text == pages.render(result) and figure.read_bytes().startswith(b"\x89PNG")
    assert "`arabic` 1" in text  # a warning: too few speakers
    gap = result["views"]["level"]["quantizers"]["vq 16"]["against_unseen"]["arabic"]["inside"]["mean"]
    assert f"| original | Arabic | {100 * gap:+.1f} |" in text


def test_a_page_counts_significant_differences(result: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(result))
    for view, mean in (("level", -0.1), ("channel", 0.1)):
        for one in changed["views"][view]["quantizers"].values():
            for gap in one["against_unseen"]["mandarin"].values():
                gap |= {"mean": mean, "low": mean - 0.05, "high": mean + 0.05}
    text = pages.render(changed)
    assert "| Mandarin | -10.0 to +10.0 | 6 | 3 | 3 |" in text
    assert "| original | Mandarin | -10.0 [-15.0, -5.0] |" in text
    assert "Mandarin (by 10.0 [5.0, 15.0] points)" in text


def test_a_page_warns_about_a_control_group_with_the_same_sources(result: dict[str, Any]) -> None:
    changed = json.loads(json.dumps(result))
    advice = "Use `--hold-out source`"
    assert advice not in pages.render(changed)
    changed["settings"]["hold_out"] = "speaker"
    assert advice not in pages.render(changed)  # all groups share both sources
    changed["groups"]["mandarin"]["sources"] = ["c"]
    assert f"(`mandarin`). {advice}" in pages.render(changed)


@pytest.mark.slow
def test_a_page_of_one_speaker_is_marked_as_no_evidence(tmp_path: Path) -> None:
    words = ["lab", "coverage", "--train", str(SAMPLES / "english.flac"), "-o", str(tmp_path / "out")]
    words += ["--rebuild", "1"]
    for name in ("mandarin", "arabic"):
        words += ["--test", f"{name}={SAMPLES / name}.flac"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    text = (tmp_path / "out/coverage.md").read_text(encoding="utf-8")
    assert (
        "**This result is not evidence.**" in text and str(SAMPLES) not in (tmp_path / "out/coverage.json").read_text()
    )


# --- invalid input


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--test", "zh=INDEX:language=xx"], "Values of 'language': ar, en, zh_TW"),
        (["--test", "zh=INDEX:language=zh*,oops"], "column=value"),
        (["--test", "zh"], "NAME=PATH"),
        (["--test", "zh=INDEX:language=zh*", "--test", "zh=INDEX"], "a different name for each group"),
        (["--test", "unseen=INDEX:language=zh*"], "groups cannot be named seen or unseen"),
        (["--test", "zh=INDEX:language=zh*", "--hold-out", "room"], "--hold-out must be one of"),
        (["--test", "zh=INDEX:language=zh*", "--folds", "1"], "--folds must be at least 2"),
        (["--test", "zh=INDEX:language=zh*", "--limit-hz", "20000"], "--limit-hz must be"),
        (["--test", "zh=INDEX:language=zh*", "--seconds", "inf"], "--seconds must be a finite number"),
        (["--test", "zh=INDEX:language=en"], "Speakers excluded because they are in the training set: 5."),
        (["--test", "zh=nowhere"], "not found"),
    ],
)
def test_errors_of_the_command_are_one_line(index: Path, tmp_path: Path, options: list[str], says: str) -> None:
    options = [option.replace("INDEX", str(index)) for option in options]
    words = ["lab", "coverage", "--train", f"{index}:language=en", "-o", str(tmp_path / "out"), *options]
    done = CliRunner().invoke(app, words)
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert says in done.stderr and not (tmp_path / "out").exists()


def test_speakers_with_two_vectors_are_an_error() -> None:
    plan = CoveragePlan(vq=(2,), rvq_entries=2, rvq_lengths=(1,), folds=2)
    with pytest.raises(ArgumentError, match="three or more vectors"):
        groups_of(speakers(6, normal(2)), {"t": speakers(2, normal(2), "t")}, plan)


def test_holding_out_the_only_source_is_an_error() -> None:
    with pytest.raises(ArgumentError, match="two sources"):
        split(speakers(3, normal(10)), CoveragePlan(hold_out="source"))
