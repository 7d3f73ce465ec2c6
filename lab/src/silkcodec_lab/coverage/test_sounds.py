"""Test labels of sounds, splits at silences, pitch classes, Griffin-Lim, resynthesis, and Silk's latents."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from silkcodec import audio, mel
from silkcodec.cli import app
from silkcodec.errors import ArgumentError
from silkcodec.evaluate.clips import Clip
from silkcodec.evaluate.metrics.pitch import find_f0
from silkcodec.evaluate.results import rounded
from silkcodec_lab import pages
from silkcodec_lab.coverage import about, experiment, griffin_lim, reconstruction, vector_fits
from silkcodec_lab.coverage.experiment import CoveragePlan, ResynthesisSettings, coverage
from silkcodec_lab.coverage.labels import rules
from silkcodec_lab.coverage.reconstruction import Voice
from silkcodec_lab.coverage.sounds import Sounds, classes_of, parts_of, pitch_classes
from silkcodec_lab.coverage.speech import Patches, latent_vectors, mel_patches_at, speakers_of
from speechlike import speechlike

ROOT = Path(__file__).resolve().parents[4]
RATE = mel.SAMPLE_RATE


# --- labels and pitch


@pytest.mark.parametrize(
    ("path", "language", "label"),
    [
        ("64k/syllabs/cmn-qiao3.mp3", "zh", ("tone", "3")),
        ("mp3/lü4.mp3", "zh_TW", ("tone", "4")),
        ("mp3/de.mp3", "zh", None),  # neutral or unknown tone
        ("64k/syllabs/cmn-_hm3.mp3", "zh", None),  # not a syllable
        ("usr/share/gcin-voice/ogg/ㄅㄨ2/3.ogg", "zh", ("tone", "2")),
        ("usr/share/gcin-voice/ogg/ㄔㄣ/3.ogg", "zh", ("tone", "1")),
        ("96k/hsk/cmn-文.mp3", "zh", None),
        ("mp3/run2.mp3", "en", None),
        ("dataset/zero/00000001_NO_01.wav", "ar", ("sound", "emphatic")),
        ("dataset/seven/00000001_NO_01.wav", "ar", ("sound", "pharyngeal")),
        ("dataset/two/00000001_NO_01.wav", "ar", ("sound", "neither")),
        ("dataset/zoom in/00000001_NO_01.wav", "ar", None),  # ambiguous Arabic word
        ("ar/alphabet/U0636.ogg", "ar", ("sound", "emphatic")),
        ("ar/alphabet/U0639.ogg", "ar", ("sound", "pharyngeal")),
        ("ar/alphabet/U0645.ogg", "ar", ("sound", "neither")),
        ("ar/alphabet/U0032.ogg", "ar", None),
    ],
)
def test_labels_are_found_by_file_name(path: str, language: str, label: tuple[str, str] | None) -> None:
    assert rules().label_of(path, language) == label


def joined(lengths_s: list[float], gap_s: float = 0.15, breath_s: float = 0.05) -> np.ndarray:
    """Return bursts of noise that contain a short pause and are separated by longer gaps."""
    generator = np.random.default_rng(0)
    parts = []
    for length_s in lengths_s:
        noise = generator.normal(0, 0.1, round(length_s * RATE))
        middle = len(noise) // 2
        noise[middle : middle + round(breath_s * RATE)] = 0
        parts += [noise, np.zeros(round(gap_s * RATE))]
    return np.concatenate(parts[:-1]).astype("f4")


def test_a_clip_is_split_at_the_joints_of_its_files() -> None:
    found = parts_of(joined([0.5, 0.8, 0.4]), 3)
    assert found is not None
    for (begin, end), (left_s, right_s) in zip(found, [(0, 0.5), (0.65, 1.45), (1.6, 2.0)], strict=True):
        assert begin / RATE == pytest.approx(left_s, abs=0.006) and end / RATE == pytest.approx(right_s, abs=0.006)
    assert parts_of(joined([0.5, 0.8, 0.4]), 4) is None  # A fourth part would start at a pause of 50 ms.
    assert parts_of(joined([0.5, 0.8, 0.4], breath_s=0.14), 3) is None  # The gaps are ambiguous.
    assert parts_of(joined([0.5]), 1) == [(0, RATE // 2)]


def test_vectors_get_the_label_of_their_file() -> None:
    columns = {"original_paths": "mp3/ma1.mp3;mp3/ma4.mp3;mp3/de.mp3", "language": "zh"}
    wave = joined([0.5, 0.8, 0.4])
    found = classes_of(wave, Clip(Path("x"), "x", columns), np.array([0, 40, 56, 70, 165]), 4)["tone"]
    assert found.tolist() == ["1", "1", "", "4", ""]
    unknown = classes_of(wave, Clip(Path("x"), "x", {}), np.array([0, 40]), 4)
    assert set(unknown["tone"]) == set(unknown["sound"]) == {""}


def test_pitch_movement_is_the_slope_of_f0() -> None:
    times_s = np.arange(400) * 0.005
    starts = np.arange(10, 180, 4)

    def only(f0: np.ndarray, kind: str) -> str:
        (found,) = set(pitch_classes(f0, starts, 4)[kind])
        return str(found)

    for slope, name in (
        (-40, "falls fast"),
        (-20, "falls"),
        (0, "level"),
        (9, "level"),
        (11, "rises"),
        (31, "rises fast"),
    ):
        assert only(150 * 2 ** (slope * times_s / 12), "movement") == name
    for hz, name in ((100, "below 120 Hz"), (121, "120 to 180 Hz"), (200, "180 to 260 Hz"), (300, "above 260 Hz")):
        assert only(np.full(400, float(hz)), "height") == name
    assert only(np.zeros(400), "height") == only(np.zeros(400), "movement") == ""
    jump = np.where(np.arange(400) < 200, 100.0, 200.0)  # an octave error of the F0 estimate
    assert (
        "" in pitch_classes(jump, starts, 4)["movement"]
        and "rises fast" not in pitch_classes(jump, starts, 4)["movement"]
    )


def test_a_class_is_compared_with_the_other_vectors_of_its_speaker_and_with_the_grid() -> None:
    sounds = Sounds({"vq 8": "fsq 3"})
    labels = np.array(["1"] * 20 + ["2"] * 20 + [""] * 60)
    for speaker, shift in (("a", 0), ("b", 4)):  # The lower coverage of b in all classes must cancel.
        for name, n_covered in (("vq 8", 10), ("fsq 3", 15)):
            covered = np.zeros(100, bool)
            covered[: n_covered - shift] = covered[20 : 40 - shift] = True
            sounds.add(name, "t", speaker, {"tone": labels}, covered)
    found = sounds.summary(0)["vq 8"]["tone"]["1"]["t"]
    assert (found["share"], found["covered"]["n"]) == (0.5, 2)
    assert found["covered"]["mean"] == pytest.approx((10 + 6) / 40)
    for key, value in (("apart", -0.5), ("grid_apart", -0.25), ("beyond_grid", -0.25)):
        assert (found[key]["mean"], found[key]["low"], found[key]["high"]) == pytest.approx((value, value, value))
    assert sounds.summary(0)["vq 8"]["tone"]["2"]["t"]["apart"]["mean"] == pytest.approx(0.5)


# --- resynthesis


def test_spectrum_and_bands_are_inverted() -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 4_800).astype("f4")
    again = griffin_lim.inverse(griffin_lim.spectrum(wave))
    assert np.abs(again - wave).max() < 1e-5
    assert len(griffin_lim.spectrum(wave[:1_000])) == 4  # Samples after the last whole hop are ignored.
    bins = np.abs(griffin_lim.spectrum(speechlike(1.0, seed=0)))
    bands = bins @ mel.filterbank()
    found = griffin_lim.magnitudes(bands, mel.filterbank())
    loud = bands > 0.01 * bands.max()
    assert np.abs(20 * np.log10((found @ mel.filterbank())[loud] / bands[loud])).mean() < 0.3


@pytest.mark.parametrize("hz", [110.0, 220.0])
def test_resynthesis_from_mel_keeps_the_pitch(hz: float) -> None:
    times_s = np.arange(RATE) / RATE
    wave = sum(np.sin(2 * np.pi * hz * k * times_s) / k for k in range(1, 20))
    bands = np.exp(mel.log_mel((0.05 * wave).astype("f4")))[:100, :108]
    again = griffin_lim.wave_of(griffin_lim.magnitudes(bands, mel.filterbank()[:, :108]), 0, 24)
    f0 = find_f0(again)[20:-20]
    assert (f0 > 0).mean() > 0.9 and abs(1200 * np.log2(np.median(f0[f0 > 0]) / hz)) < 15


def test_resynthesis_has_the_measured_quantization_error() -> None:
    vectors = (np.random.default_rng(0).normal(size=(600, 5)) * [5, 3, 2, 1, 0.1]).astype("f4")
    fitted, facts = vector_fits.fit(vectors, (16,), (8, (1, 3)), 0, 5)
    measured, again = vector_fits.measure(fitted, vectors), vector_fits.rebuild(fitted, vectors)
    assert set(measured) == set(again) == set(facts)
    for name, one in measured.items():
        assert np.abs(vector_fits.rms(again[name] - vectors) - one.error).max() < 1e-4


def test_errors_are_compared_with_unseen_speakers_and_the_grid() -> None:
    def errors(new: list[float], group: list[float]) -> dict[str, Any]:
        groups = {"unseen": new, "t": group}
        return {
            name: {f"{name}{i}": dict.fromkeys(reconstruction.METRICS, v) for i, v in enumerate(values)}
            for name, values in groups.items()
        }

    values = {"vq 8": errors([10, 12], [20, 24]), "fsq 3": errors([9, 9], [12, 14])}
    values["vq 8"]["t"]["t0"]["stoi"] = None  # An undefined value excludes the speaker from this metric only.
    found = reconstruction._summary("vq 8", values, "fsq 3", 0)
    assert found["f0_rmse_cents"]["t"]["against_unseen"]["mean"] == pytest.approx(22 - 11)
    assert found["f0_rmse_cents"]["t"]["beyond_grid_and_unseen"]["mean"] == pytest.approx((8 + 10) / 2 - (1 + 3) / 2)
    assert found["stoi"]["t"]["mean"] == {"mean": 24.0, "low": None, "high": None, "n": 1}
    assert "against_unseen" not in found["f0_rmse_cents"]["unseen"]


# --- Silk's latents


def test_latents_do_not_depend_on_level_and_skip_silence() -> None:
    wave = np.concatenate([speechlike(2.0, seed=3), np.zeros(RATE, "f4")])
    patches = Patches(of="latents")
    vectors, starts = latent_vectors(wave, patches)
    assert patches.width == 16 and vectors.shape[1] == 128 and 4 <= len(vectors) <= 6
    assert starts.max() < 5 * mel.COLUMNS + 1 and len(latent_vectors(np.zeros(RATE, "f4"), patches)[0]) == 0
    assert np.abs(latent_vectors(wave * 0.2, patches)[0] - vectors).max() < 0.05
    with pytest.raises(ArgumentError, match="--no-sounds"):
        CoveragePlan(sounds=True, patches=patches)


def test_the_mean_of_latents_is_subtracted_by_frame(index: Path) -> None:
    for speaker in speakers_of(f"{index}:language=zh", Patches(of="latents", per_speaker=25), 0):
        assert speaker.vectors.shape == (24, 16) and speaker.pieces == 8  # three frames of eight vectors
        left = speaker.without_channel().vectors
        assert left.shape == (24, 16) and np.abs(left.reshape(3, 128).mean(axis=0)).max() < 1e-5


def test_the_first_column_of_each_patch() -> None:
    wave = np.concatenate([np.zeros(RATE // 2, "f4"), speechlike(1.0, seed=0)])
    _, starts = mel_patches_at(wave, Patches())
    assert starts.min() >= 46 and not (starts % 4).any()  # A mel window has a look-ahead of 30 ms.


# --- the experiment

GAP = {"mean": -0.04, "low": -0.05, "high": -0.03, "n": 9}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sounds")
    rows = ["path\tsource\tlanguage\tspeaker\toriginal_paths"]
    gap = np.zeros(round(0.15 * RATE), "f4")
    for i in range(8):
        language, paths = ("en", "a.wav;b.wav") if i < 4 else ("zh", "mp3/ma1.mp3;mp3/ma4.mp3")
        wave = np.concatenate([speechlike(1.2, seed=i), gap, speechlike(1.2, seed=50 + i)])
        audio.write(folder / f"{i}.wav", wave, RATE)
        rows.append(f"{i}.wav\t{'ab'[i % 2]}\t{language}\tvoice {i}\t{paths}")
    (folder / "INDEX.tsv").write_text("\n".join(rows) + "\n")
    return folder / "INDEX.tsv"


@pytest.fixture(scope="module")
def result(index: Path) -> dict[str, Any]:
    plan = CoveragePlan(vq=(8,), rvq_entries=4, rvq_lengths=(1, 2), folds=2, sounds=True)
    resynthesis = ResynthesisSettings(2, seconds=1.0, steps=2, codecs=())
    tests = {"mandarin": f"{index}:language=zh"}
    found = coverage(f"{index}:language=en", tests, plan=plan, name="coverage_test", resynthesis=resynthesis)
    return json.loads(json.dumps(rounded(found)))


def test_every_group_is_resynthesized_with_every_quantizer(result: dict[str, Any]) -> None:
    found = result["rebuilt"]
    assert set(found["of"]) == {"again", "vq 8", "rvq 2x4", "fsq 3", "fsq 4"}
    assert found["grids"] == {"vq 8": "fsq 3", "rvq 2x4": "fsq 4"} and found["codecs"] == []
    for one in found["of"].values():
        assert {group: entry["mean"]["n"] for group, entry in one["mel_distance"].items()} == {
            "seen": 2,
            "unseen": 2,
            "mandarin": 2,
        }
    floor, worst = (found["of"][name]["mel_distance"]["unseen"]["mean"]["mean"] for name in ("again", "vq 8"))
    assert 0 < floor < worst
    assert result["sounds"]["vq 8"]["tone"]["1"]["mandarin"]["covered"]["n"] >= 2


def test_resynthesis_with_latents_skips_silent_clips(tmp_path: Path) -> None:
    rows = ["path\tsource\tlanguage\tspeaker"]
    for i in range(4):
        for name, wave in (("speech", speechlike(2.5, seed=i)), ("silence", np.zeros(RATE, "f4"))):
            audio.write(tmp_path / f"{i}-{name}.wav", wave, RATE)
            rows.append(f"{i}-{name}.wav\ta\t{'en' if i < 3 else 'zh'}\tvoice {i}")
    (tmp_path / "INDEX.tsv").write_text("\n".join(rows) + "\n")
    train, test = (f"{tmp_path / 'INDEX.tsv'}:language={language}" for language in ("en", "zh"))
    plan = CoveragePlan(vq=(8,), rvq_entries=4, rvq_lengths=(1,), patches=Patches(of="latents", per_speaker=25))
    resynthesis = ResynthesisSettings(1, seconds=1.0, steps=2, codecs=())
    voices = reconstruction.find_voices(train, {"mandarin": test}, plan, resynthesis, [set()])
    found = reconstruction.resynthesize(*voices, {}, plan, resynthesis, [set()])
    assert found["settings"]["width"] == plan.patches.n_bands  # mel columns, not latents
    assert found["of"]["vq 8"]["mel_distance"]["mandarin"]["mean"]["n"] == 1


def test_codebooks_have_the_same_size_in_all_folds() -> None:
    def voice(name: str, n: int) -> Voice:
        vectors = np.random.default_rng(n).normal(size=(n, Patches().n_bands)).astype("f4")
        return Voice(name, name, speechlike(1.0, seed=n), vectors)

    trained = [voice("a", 40), voice("b", 400)]
    plan = CoveragePlan(vq=(64,), rvq_entries=64, rvq_lengths=(1,))
    settings = ResynthesisSettings(steps=1)
    found = reconstruction.resynthesize(trained, {"unseen": trained}, {}, plan, settings, [{"a"}, {"b"}])
    assert set(found["of"]) == {"again", "vq 8", "rvq 1x8", "fsq 3"}  # of 40 vectors, with 4 vectors per entry


def test_resynthesis_is_checked_before_the_measurement(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = CoveragePlan(vq=(8,), rvq_entries=4, rvq_lengths=(1,), folds=2)
    monkeypatch.setattr(experiment, "measure", lambda *_: pytest.fail("The measurement started."))
    with pytest.raises(ArgumentError, match="A codec must be one of"):
        coverage("nowhere", {"t": "nowhere"}, plan=plan, resynthesis=ResynthesisSettings(codecs=("nonesuch",)))
    for i in range(3):
        audio.write(tmp_path / f"{i}/speech.wav", speechlike(1.5, seed=i), RATE)
    with pytest.raises(ArgumentError, match=r"clips of at least 2 s .* pass --rebuild 0"):
        coverage(str(tmp_path), {"t": str(index)}, plan=plan, resynthesis=ResynthesisSettings(codecs=()))


def test_the_page_of_a_named_result_has_its_name(result: dict[str, Any], tmp_path: Path) -> None:
    written, figure = pages.write(result, tmp_path)
    assert (written.name, figure.name) == ("coverage_test.md", "coverage_test.png")
    text = written.read_text(encoding="utf-8")
    assert "](coverage_test.png)" in text and "--rebuild 2 --codecs '' --name coverage_test" in text
    apart = result["rebuilt"]["of"]["vq 8"]["mel_distance"]["mandarin"]["against_unseen"]["mean"]
    (row,) = [line for line in text.splitlines() if line.startswith("| VQ 8 | Mandarin | ")]
    assert f" | {apart:+.2f} [" in row
    for wrong in ("snap", "coverage_", "coverage/x", "coverage_X"):
        with pytest.raises(ArgumentError, match="--name must be 'coverage'"):
            pages.check_name(wrong, "coverage")


def test_the_title_depends_on_the_kind_of_result(result: dict[str, Any]) -> None:
    assert pages.render(result).startswith(f"# {about.TITLE}\n")
    changed = json.loads(json.dumps(result))
    changed["groups"]["unseen"]["sources"] = ["a"]
    assert pages.render(changed).startswith(f"# {about.SOURCE_TITLE}\n")
    for view in changed["views"].values():
        for one in view["quantizers"].values():
            one["against_unseen"] = {"mandarin": {key: GAP for key in one["against_unseen"]["mandarin"]}}
    assert "| Mandarin | -4.0 to -4.0 | 6 | 6 | 0 |" in pages.render(changed)
    changed["settings"]["patches"]["of"] = "latents"
    text = pages.render(changed)
    assert text.startswith(f"# {about.LATENT_TITLE}\n") and "--vectors latents" in text


@pytest.mark.parametrize(("n", "counted"), [(4, False), (5, True)])
def test_intervals_of_few_speakers_are_not_counted(result: dict[str, Any], n: int, counted: bool) -> None:
    changed = json.loads(json.dumps(result))
    gap = {**GAP, "n": n}
    changed["sounds"]["vq 8"] = {"grid": "fsq 3", "tone": {"3": {"mandarin": {"share": 0.2} | dict.fromkeys(
        ("covered", "apart", "grid_apart", "beyond_grid"), gap)}}}  # fmt: skip
    assert ("| VQ 8 | tone | 3 | Mandarin | -4.0 [" in pages.render(changed)) == counted


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--name", "sounds"], "--name must be 'coverage'"),
        (["--vectors", "cepstra"], "--vectors must be one of mel, latents"),
        (["--vectors", "latents"], "--no-sounds"),
    ],
)
def test_errors_are_printed_on_one_line(index: Path, tmp_path: Path, options: list[str], says: str) -> None:
    words = ["lab", "coverage", "--train", f"{index}:language=en", "--test", f"zh={index}:language=zh", *options]
    done = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "out")])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1), done.output
    assert says in done.stderr and not (tmp_path / "out").exists()
