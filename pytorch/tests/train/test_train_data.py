"""Test training data: splits, the cache of decoded audio, crops, augmentation and batches."""

from __future__ import annotations

import json
import os
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from repository import ROOT
from silkcodec import audio
from silkcodec.audio import manifest
from silkcodec.errors import ArgumentError, OutputError
from silkcodec.mel import FRAME, LOOKAHEAD, SAMPLE_RATE
from silkcodec_torch.train import data
from silkcodec_torch.train.augment import augment, reverberate
from silkcodec_torch.train.config import DataConfig
from silkcodec_torch.train.data import Batch, Batches, Pack, crops, pack, split_rows
from speechlike import speechlike

PLAIN = {"gain_db": 0.0, "bandwidth_share": 0.0, "noise_share": 0.0}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Write twelve files of half a second in two subfolders."""
    long = speechlike(6.0)
    for i in range(12):
        place = tmp_path / "speech" / ("a" if i % 2 else "b")
        place.mkdir(parents=True, exist_ok=True)
        audio.write(place / f"{i:02d}.wav", long[i * 12_000 : (i + 1) * 12_000], SAMPLE_RATE)
    return tmp_path / "speech"


def counted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the names of the files that are decoded."""
    read, names = audio.read, []

    def reading(source: Path, sample_rate: int) -> np.ndarray:
        names.append(Path(source).name)
        return read(source, sample_rate)

    monkeypatch.setattr(data.audio, "read", reading)
    return names


def paths_of(config: DataConfig) -> dict[str, list[str]]:
    """Return the paths of the training and validation files."""
    return {split: [row["path"] for row in rows] for split, rows in split_rows(config).items()}


# --- splits


def test_split_by_the_index_column(folder: Path) -> None:
    rows = ["path\tsplit\tlanguage", "b/00.wav\ttrain\ten", "a/01.wav\tvalid\ten", "b/02.wav\ttrain\tzh"]
    (folder / "INDEX.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    splits = paths_of(DataConfig(folder=str(folder), index="INDEX.tsv"))
    assert splits == {"train": ["b/00.wav", "b/02.wav"], "valid": ["a/01.wav"]}
    by_language = DataConfig(folder=str(folder), index="INDEX.tsv", split_column="language", valid_value="zh")
    assert paths_of(by_language)["valid"] == ["b/02.wav"]
    (folder / "index.csv").write_text("\n".join(rows).replace("\t", ","), encoding="utf-8")
    assert paths_of(DataConfig(folder=str(folder), index="index.csv")) == splits


def test_files_below_the_bandwidth_are_skipped(folder: Path) -> None:
    rows = ["path\tsplit\thz", "b/00.wav\ttrain\t12000", "a/01.wav\tvalid\t4000", "b/02.wav\ttrain\t7900"]
    (folder / "INDEX.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    config = DataConfig(folder=str(folder), index="INDEX.tsv", bandwidth_column="hz", min_bandwidth_hz=10_000)
    assert paths_of(config) == {"train": ["b/00.wav"], "valid": ["a/01.wav"]}
    (folder / "INDEX.tsv").write_text("\n".join(rows).replace("7900", "wide"), encoding="utf-8")
    with pytest.raises(ArgumentError, match=r"'hz' column must contain a number in Hz; got 'wide' for 'b/02\.wav'"):
        paths_of(config)


def test_further_tables_add_files(folder: Path, tmp_path: Path) -> None:
    (folder / "INDEX.tsv").write_text("path\tsplit\thz\nb/00.wav\ttrain\t12000\na/01.wav\tvalid\t4000\n")
    (tmp_path / "made" / "voice").mkdir(parents=True)
    for name in ("one", "two"):
        audio.write(tmp_path / "made" / "voice" / f"{name}.flac", speechlike(0.5), SAMPLE_RATE)
    rows = ["path\tsplit\thz\tsynthetic", "voice/one.flac\ttrain\t12000\tyes", "voice/two.flac\ttrain\t7000\tyes"]
    (tmp_path / "made" / "INDEX.tsv").write_text("\n".join(rows) + "\n")
    more = (str(tmp_path / "made" / "INDEX.tsv"),)
    config = DataConfig(folder=str(folder), index="INDEX.tsv", more=more, bandwidth_column="hz", min_bandwidth_hz=1e4)
    added = str(tmp_path / "made" / "voice" / "one.flac")
    assert paths_of(config) == {"train": ["b/00.wav", added], "valid": ["a/01.wav"]}
    packed = pack(replace(config, synthetic_share=0.25), "train", tmp_path / "cache")
    assert [clip.path for clip in packed.clips] == ["b/00.wav", added]
    assert packed.shares.tolist() == [0.75, 0.25]
    with pytest.raises(ArgumentError, match=r"data\.more requires data\.index"):
        paths_of(replace(config, index=""))
    with pytest.raises(ArgumentError, match=r"Table not found: 'nosuch\.tsv'"):
        paths_of(replace(config, more=("nosuch.tsv",)))


def test_filters_select_rows(folder: Path, tmp_path: Path) -> None:
    rows = ["b/00.wav\ttrain\tCC-BY-4.0", "b/02.wav\ttrain\tCC-BY-SA-3.0", "a/01.wav\tvalid\tCC0-1.0"]
    (folder / "INDEX.tsv").write_text("\n".join(["path\tsplit\tlicence", *rows]) + "\n")
    config = DataConfig(folder=str(folder), index="INDEX.tsv:licence=CC0*|CC-BY-[34]*")
    assert paths_of(config) == {"train": ["b/00.wav"], "valid": ["a/01.wav"]}
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "INDEX.tsv").write_text("path\tsplit\tvoice\none.flac\ttrain\ta\ntwo.flac\ttrain\tb\n")
    added = paths_of(replace(config, more=(f"{tmp_path / 'more' / 'INDEX.tsv'}:voice=b",)))
    assert added["train"] == ["b/00.wav", str(tmp_path / "more" / "two.flac")]
    with pytest.raises(ArgumentError, match=r"'licence=MIT' does not match any row of .*INDEX\.tsv"):
        paths_of(replace(config, index="INDEX.tsv:licence=MIT"))
    with pytest.raises(ArgumentError, match=r"at least one training file; 'INDEX\.tsv:split=valid' selects none"):
        paths_of(replace(config, index="INDEX.tsv:split=valid"))


def test_training_excludes_held_out_clips(folder: Path, tmp_path: Path) -> None:
    rows = [
        "path\tsplit\tsource\tlanguage\tspeaker",
        "b/00.wav\ttrain\tbooks\ten\tann",  # held out as a clip
        "a/01.wav\ttrain\tbooks\ten\tann",
        "b/02.wav\ttrain\tbooks\tth\tbob",  # its language
        "a/03.wav\ttrain\tradio\ten\tcid",  # its source
        "b/04.wav\tvalid\tbooks\ten\teve",  # its speaker
        "a/05.wav\ttrain\tgames\ten\teve",  # another source's speaker of that name
        "b/06.wav\tvalid\tgames\ten\tann",
    ]
    (folder / "INDEX.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    clips = [
        "path\tsource\tlanguage\tspeaker\theld_out",
        "b/00.wav\tbooks\ten\tann\tclip",
        "x.wav\tnews\tth\tdan\tlanguage",
        "y.wav\tradio\tfr\tdan\tsource",
        "z.wav\tbooks\ten\teve\tspeaker",
        "a/01.wav\tbooks\ten\tann\tnothing",
    ]
    (tmp_path / "clips.tsv").write_text("\n".join(clips) + "\n", encoding="utf-8")
    config = DataConfig(folder=str(folder), index="INDEX.tsv", exclude=str(tmp_path / "clips.tsv"))
    assert paths_of(config) == {"train": ["a/01.wav", "a/05.wav"], "valid": ["b/06.wav"]}
    with pytest.raises(ArgumentError, match=r"data\.index"):
        paths_of(replace(config, index=""))
    (tmp_path / "clips.tsv").write_text("\n".join([clips[0], clips[1].replace("clip", "room")]), encoding="utf-8")
    with pytest.raises(ArgumentError, match="'room'"):
        paths_of(config)


def test_the_committed_evaluation_list_keeps_its_promises() -> None:
    rows = manifest.read(ROOT / "bench" / "evaluation" / "clips.tsv")
    unseen = [row for row in rows if row["group"] != "training"]
    assert len({row["path"] for row in rows}) == len(rows)
    english = [row for row in unseen if row["group"] == "english-read"]
    assert 3 * len(english) >= len(unseen) and {row["kind"] for row in english} == {"sentences"}
    assert {row["held_out"] for row in unseen if row["group"] == "unseen-language"} == {"language"}
    assert {row["held_out"] for row in unseen if row["group"] == "unseen-source"} == {"source"}
    trained = [row for row in rows if row["group"] == "training"]
    for column in ("source", "language"):
        assert not {row[column] for row in rows if row["held_out"] == column} & {row[column] for row in trained}
    assert [row["gap"] for row in trained] == ["training"] * sum(row.get("gap") == "unseen" for row in unseen)


def test_split_by_hash_is_stable_and_disjoint(folder: Path) -> None:
    config = DataConfig(folder=str(folder), valid_percent=40.0)
    first = paths_of(config)
    assert first == paths_of(config)
    assert first["train"] and first["valid"] and not set(first["train"]) & set(first["valid"])
    assert len(first["train"] + first["valid"]) == 12
    audio.write(folder / "new.wav", speechlike(0.5), SAMPLE_RATE)  # a new file does not change the split of others
    second = paths_of(config)
    assert set(first["valid"]) == set(second["valid"]) - {"new.wav"}
    (folder / "notes.txt").write_text("not audio")
    assert paths_of(config) == second


@pytest.mark.parametrize("n_files", [1, 2, 3])
def test_few_files_fill_both_splits(folder: Path, n_files: int) -> None:
    for file in sorted(folder.rglob("*.wav"))[n_files:]:
        file.unlink()
    for percent in (0.01, 99.9):
        splits = paths_of(DataConfig(folder=str(folder), valid_percent=percent))
        assert splits["train"] and splits["valid"]


def test_an_unusable_folder_gives_one_sentence(tmp_path: Path, folder: Path) -> None:
    (folder / "INDEX.tsv").write_text("path\tother\nb/00.wav\tx\n")
    (folder / "empty.tsv").write_text("path\tsplit\n")
    (tmp_path / "none").mkdir()
    cases = {
        "data.folder must be a folder": DataConfig(folder=str(tmp_path / "nowhere")),
        "got ''": DataConfig(),
        "must contain at least one audio file": DataConfig(folder=str(tmp_path / "none")),
        "Table not found": DataConfig(folder=str(folder), index="nosuch.tsv"),
        "the columns path, split": DataConfig(folder=str(folder), index="INDEX.tsv"),
        "must have at least one row": DataConfig(folder=str(folder), index="empty.tsv"),
    }
    for message, config in cases.items():
        with pytest.raises(ArgumentError, match=message):
            paths_of(config)


# --- the cache


def test_formats(tmp_path: Path) -> None:
    """Compare decoded audio with the written audio: exactly for lossless formats, closely for others."""
    wave = speechlike(1.3, seed=2)
    (tmp_path / "speech").mkdir()
    kept = {".wav": 1e-4, ".flac": 1e-4}
    for suffix in (".wav", ".flac", ".ogg", ".opus"):
        audio.write(tmp_path / "speech" / f"clip{suffix}", wave, SAMPLE_RATE)
    import soundfile  # the library reads MP3 but does not write it

    soundfile.write(tmp_path / "speech" / "CLIP.MP3", wave, SAMPLE_RATE, format="MP3")
    kept_out = DataConfig(folder=str(tmp_path / "speech"), valid_percent=0.01)
    found = {}
    for split in ("train", "valid"):
        packed = pack(kept_out, split, tmp_path / "cache")
        found |= {clip.path: packed.wave(clip, 0, clip.n_samples) for clip in packed.clips}
    assert set(found) == {"clip.wav", "clip.flac", "clip.ogg", "clip.opus", "CLIP.MP3"}
    for name, decoded in found.items():
        n = min(len(decoded), len(wave))
        assert abs(len(decoded) - len(wave)) < 3000, name
        if Path(name).suffix in kept:
            assert len(decoded) == len(wave) and np.abs(decoded - wave).max() < 1e-4
        else:
            lag = np.argmax(np.correlate(decoded[:n], wave[2000 : n - 2000], "valid")) - 2000
            a, b = decoded[2000 + lag : n - 2000 + lag], wave[2000 : n - 2000]
            assert np.corrcoef(a, b)[0, 1] > 0.7, name


def test_other_rates_and_channels_become_mono_at_24_khz(tmp_path: Path) -> None:
    (tmp_path / "speech").mkdir()
    import soundfile

    stereo = np.stack([speechlike(1.0, 1, 16_000), np.zeros(16_000, np.float32)], axis=1)
    soundfile.write(tmp_path / "speech" / "stereo.wav", stereo, 16_000)
    packed = pack(DataConfig(folder=str(tmp_path / "speech")), "train", tmp_path / "cache")
    assert abs(packed.clips[0].n_samples - SAMPLE_RATE) <= 1
    assert packed.hours == pytest.approx(1 / 3600, rel=1e-3)


def test_the_cache_is_reused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DataConfig(folder=str(folder))
    first = pack(config, "train", tmp_path / "cache")
    decoded = counted(monkeypatch)
    second = pack(config, "train", tmp_path / "cache")
    assert decoded == [] and second.clips == first.clips
    assert np.array_equal(first.samples, second.samples)
    assert [p.suffix for p in sorted((tmp_path / "cache").iterdir())] == [".i16", ".json"]


def test_a_file_name_that_is_not_utf_8(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = os.fsdecode(b"a/\xff.wav")
    (folder / "a" / "01.wav").rename(folder / name)
    config = DataConfig(folder=str(folder), valid_percent=0.01)
    assert name in [clip.path for clip in pack(config, "train", tmp_path / "cache").clips]
    decoded = counted(monkeypatch)
    assert name in [clip.path for clip in pack(config, "train", tmp_path / "cache").clips] and not decoded


def test_the_cache_is_rebuilt_when_a_file_changes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, cache = DataConfig(folder=str(folder)), tmp_path / "cache"
    name = pack(config, "train", cache).clips[0].path
    decoded = counted(monkeypatch)

    audio.write(folder / name, speechlike(1.5, seed=50), SAMPLE_RATE, overwrite=True)  # longer
    packed = pack(config, "train", cache)
    assert decoded and packed.clips[0].n_samples == 36_000
    decoded.clear()
    quiet = (0.1 * speechlike(1.5, seed=51)).astype(np.float32)
    audio.write(folder / name, quiet, SAMPLE_RATE, overwrite=True)  # same length, newer
    os.utime(folder / name, (2e9, 2e9))
    packed = pack(config, "train", cache)
    assert decoded and np.abs(packed.wave(packed.clips[0], 0, 36_000) - quiet).max() < 1e-4
    decoded.clear()
    (folder / name).unlink()
    assert name not in [clip.path for clip in pack(config, "train", cache).clips] and decoded


def test_the_cache_of_another_folder_is_not_used(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "copy")  # the same names, sizes and times
    pack(DataConfig(folder=str(folder)), "train", tmp_path / "cache")
    decoded = counted(monkeypatch)
    pack(DataConfig(folder=str(tmp_path / "copy")), "train", tmp_path / "cache")
    assert decoded


def test_runs_with_different_files_share_a_cache(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Check that a run that decodes other files, while or after the first one decodes, leaves its samples alone."""
    (folder / "INDEX.tsv").write_text("path\tsplit\na/01.wav\ttrain\nb/02.wav\ttrain\nb/00.wav\tvalid\n")
    every, cache = DataConfig(folder=str(folder)), tmp_path / "cache"
    some = replace(every, index="INDEX.tsv")
    read, others = audio.read, []

    def interrupted(source: Path, sample_rate: int) -> np.ndarray:
        if not others:
            others.append(None)
            others[0] = pack(some, "train", cache)
        return read(source, sample_rate)

    monkeypatch.setattr(data.audio, "read", interrupted)
    first = pack(every, "train", cache)
    monkeypatch.setattr(data.audio, "read", read)
    decoded = counted(monkeypatch)
    for packed in (first, others[0], pack(every, "train", cache), pack(some, "train", cache)):
        assert packed is not None and not decoded
        for clip in packed.clips:
            wave = audio.read(folder / clip.path, SAMPLE_RATE)
            assert np.abs(packed.wave(clip, 0, clip.n_samples) - wave[: clip.n_samples]).max() < 1e-4
        decoded.clear()


@pytest.mark.parametrize("damage", ["samples truncated", "table truncated", "table of another kind", "no samples"])
def test_a_damaged_cache_is_rebuilt(folder: Path, tmp_path: Path, damage: str) -> None:
    config, cache = DataConfig(folder=str(folder)), tmp_path / "cache"
    whole = np.array(pack(config, "train", cache).samples)
    (samples,), (table,) = cache.glob("train-*.i16"), cache.glob("train-*.json")
    if damage == "samples truncated":
        os.truncate(samples, 1000)
    elif damage == "table truncated":
        os.truncate(table, 30)
    elif damage == "table of another kind":
        table.write_text(json.dumps({"clips": []}))
    else:
        samples.unlink()
    assert np.array_equal(pack(config, "train", cache).samples, whole)


def test_a_killed_decode_leaves_no_partial_pack(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, cache = DataConfig(folder=str(folder)), tmp_path / "cache"
    read, calls = audio.read, []

    def killed(source: Path, sample_rate: int) -> np.ndarray:
        calls.append(source)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return read(source, sample_rate)

    monkeypatch.setattr(data.audio, "read", killed)
    with pytest.raises(KeyboardInterrupt):
        pack(config, "train", cache)
    assert not list(cache.iterdir())
    monkeypatch.setattr(data.audio, "read", read)
    assert len(pack(config, "train", cache).clips) == len(paths_of(config)["train"])


def test_an_unreadable_file_is_reported_and_skipped(folder: Path, tmp_path: Path) -> None:
    (folder / "a" / "broken.wav").write_bytes(b"this is no sound")
    audio.write(folder / "a" / "cut.flac", speechlike(1.0), SAMPLE_RATE)
    os.truncate(folder / "a" / "cut.flac", 200)
    config, said = DataConfig(folder=str(folder), valid_percent=0.01), []
    packs = [pack(config, split, tmp_path / "cache", said.append) for split in ("train", "valid")]
    assert sum(len(packed.clips) for packed in packs) == 12
    assert sorted(line.split(":")[0] for line in said) == ["skipped a/broken.wav", "skipped a/cut.flac"]


def test_no_readable_file_gives_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "speech").mkdir()
    (tmp_path / "speech" / "broken.wav").write_bytes(b"this is no sound")
    with pytest.raises(ArgumentError, match="The 'train' split must contain readable audio"):
        pack(DataConfig(folder=str(tmp_path / "speech")), "train", tmp_path / "cache")


def test_an_unwritable_cache_gives_one_sentence(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"Cannot write to .*\. Set data\.cache to another folder\."):
        pack(DataConfig(folder=str(folder)), "train", tmp_path / "file" / "cache")


# --- crops


def pack_of(*waves: np.ndarray) -> Pack:
    clips, start = [], 0
    for i, wave in enumerate(waves):
        clips.append(data.PackedClip(f"{i}.wav", start, len(wave)))
        start += len(wave)
    return Pack((np.concatenate(waves) * 32768).astype("<i2"), clips)


def test_a_crop_is_a_piece_of_its_clip() -> None:
    wave = np.linspace(-0.9, 0.9, 60_000).astype(np.float32)  # every value encodes its position
    batch = crops(pack_of(wave), DataConfig(crop_frames=2, **PLAIN), 8, seed=1, step=0).wave.numpy()
    assert batch.shape == (8, 2 * FRAME + LOOKAHEAD) and batch.dtype == np.float32
    slope = 1.8 / 59_999
    starts = (batch[:, 0] + 0.9) / slope
    assert len(set(starts.round())) == 8 and starts.min() >= -2 and starts.max() <= 60_000 - batch.shape[1] + 2
    assert np.allclose(np.diff(batch, axis=1).mean(axis=1), slope, rtol=1e-2)


def test_short_clips_are_zero_padded() -> None:
    short, other = np.full(500, 0.25, np.float32), np.full(700, -0.5, np.float32)
    batch = crops(pack_of(short, other), DataConfig(crop_frames=1, **PLAIN), 16, seed=1, step=0).wave.numpy()
    seen = set()
    for row in batch:
        n = 500 if row[0] > 0 else 700
        seen.add(n)
        assert (row[:n] == row[0]).all() and (row[n:] == 0).all()
    assert seen == {500, 700}


def test_crops_depend_on_seed_and_step_only() -> None:
    source, config = pack_of(speechlike(4.0, 1), speechlike(3.0, 2)), DataConfig(crop_frames=2)

    def batch(seed: int, step: int) -> np.ndarray:
        return crops(source, config, 4, seed, step).wave.numpy()

    first = batch(7, 100)
    batch(7, 5)  # regardless of draws in between
    assert np.array_equal(first, batch(7, 100))
    assert not np.array_equal(first, batch(7, 101)) and not np.array_equal(first, batch(8, 100))


def test_longer_files_are_drawn_more_often() -> None:
    source = pack_of(np.full(90_000, 0.5, np.float32), np.full(10_000, -0.5, np.float32))
    batch = crops(source, DataConfig(crop_frames=1, **PLAIN), 300, seed=3, step=0).wave.numpy()
    assert 0.83 < float((batch[:, 0] > 0).mean()) < 0.97


def test_the_share_of_synthetic_crops_is_limited() -> None:
    clips = pack_of(*(np.full(n, 0.1, np.float32) for n in (1000, 3000, 2000, 6000)))
    made = frozenset({"2.wav", "3.wav"})
    assert np.allclose(Pack(clips.samples, clips.clips, made, 0.3).shares, [0.175, 0.525, 0.075, 0.225])
    for limit in (0.7, 1.0):  # The share by length is two thirds.
        assert np.allclose(Pack(clips.samples, clips.clips, made, limit).shares, clips.lengths / 12_000)
    assert np.allclose(Pack(clips.samples, clips.clips, made, 0.0).shares, [0.25, 0.75, 0, 0])


def test_bandwidths_limit_the_losses(folder: Path, tmp_path: Path) -> None:
    rows = ["path\tsplit\thz", "b/00.wav\ttrain\t12000", "a/01.wav\tvalid\t4000", "b/02.wav\ttrain\t7900"]
    (folder / "INDEX.tsv").write_text("\n".join([*rows, "b/04.wav\ttrain\t"]) + "\n", encoding="utf-8")
    config = DataConfig(folder=str(folder), index="INDEX.tsv", bandwidth_column="hz", full_band_hz=10_000)
    packed = pack(config, "train", tmp_path / "cache")
    assert [clip.path for clip in packed.clips] == ["b/00.wav", "b/02.wav", "b/04.wav"]
    assert packed.bandwidths.tolist() == [np.inf, 7900, np.inf]  # an unknown bandwidth is not a limit
    batch = crops(packed, replace(config, crop_frames=1, **PLAIN), 20, seed=1, step=0)
    assert set(batch.bandwidth_hz.tolist()) == {np.inf, 7900}
    off = pack(replace(config, full_band_hz=0.0), "train", tmp_path / "cache")
    assert off.bandwidths.tolist() == [np.inf] * 3


def test_a_change_of_speed_moves_frequencies_and_bandwidths() -> None:
    seconds = np.arange(120_000) / SAMPLE_RATE
    tone = (0.5 * np.sin(2 * np.pi * 1000 * seconds)).astype(np.float32)
    clips = pack_of(tone)
    source = Pack(clips.samples, clips.clips, bandwidths=np.array([8000.0]))
    config = DataConfig(crop_frames=2, speed_change=0.1, full_band_hz=10_000, **PLAIN)
    batch = crops(source, config, 30, seed=1, step=0)
    assert batch.wave.shape == (30, 2 * FRAME + LOOKAHEAD)
    spectrum = torch.fft.rfft(batch.wave * torch.hann_window(batch.wave.shape[1])).abs()
    speeds = spectrum.argmax(dim=1) * SAMPLE_RATE / batch.wave.shape[1] / 1000
    assert 0.899 < speeds.min() < 0.93 and 1.07 < speeds.max() < 1.101
    assert torch.allclose(batch.bandwidth_hz, 8000 * speeds, rtol=2e-3)
    full = crops(pack_of(tone), config, 30, seed=1, step=0)  # Slowing down leaves the highest frequencies empty.
    assert torch.equal(full.wave, batch.wave)
    assert torch.allclose(full.bandwidth_hz[speeds < 0.995], 12_000 * speeds[speeds < 0.995], rtol=2e-3)
    assert full.bandwidth_hz[speeds > 1.005].isinf().all()


def test_crops_at_any_speed_have_the_same_length() -> None:
    source, config = pack_of(np.full(400_000, 0.5, np.float32)), DataConfig(crop_frames=10, speed_change=0.5, **PLAIN)
    batch = crops(source, config, 200, seed=1, step=0)
    assert batch.wave.shape == (200, 10 * FRAME + LOOKAHEAD)
    assert float(batch.wave[:, 200:-200].min()) > 0.49  # no crop is padded with zeros


def test_a_mixture_adds_a_quieter_second_crop() -> None:
    low, high = (
        np.sin(2 * np.pi * hz * np.arange(60_000) / SAMPLE_RATE).astype(np.float32) * 0.3 for hz in (500, 3000)
    )
    clips = pack_of(low, high)
    source = Pack(clips.samples, clips.clips, bandwidths=np.array([np.inf, 5000.0]))
    config = DataConfig(crop_frames=1, mixture_share=1.0, clean_targets=True, **PLAIN)
    batch = crops(source, config, 40, seed=2, step=0)
    power = torch.fft.rfft(batch.wave).abs().square()
    n = batch.wave.shape[1]
    at_low, at_high = (power[:, round(hz * n / SAMPLE_RATE)] for hz in (500, 3000))
    ratio_db = (10 * torch.log10(at_low / at_high)).abs()
    mixed = ratio_db < 30  # Otherwise, both crops are from the same file.
    assert 10 < int(mixed.sum()) < 30
    assert float(ratio_db[mixed].min()) > 4.9 and float(ratio_db[mixed].max()) < 20.1
    assert (batch.bandwidth_hz[mixed] == 5000).all()  # the lower of the two
    clean = torch.fft.rfft(batch.target).abs().square()
    assert (clean.amax(dim=1) > 0.99 * clean.sum(dim=1)).all()  # one tone only


# --- augmentation


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("clean", [False, True])
def test_augmented_waves_do_not_clip(seed: int, clean: bool) -> None:
    config = DataConfig(
        gain_db=20.0, bandwidth_share=1.0, noise_share=1.0, noise_db=-10.0, room_share=1.0, clean_targets=clean
    )
    loud = np.sign(speechlike(0.8, seed)).astype(np.float32)  # a square wave at full scale: filtering overshoots
    wave, target = augment(loud, config, np.random.default_rng(seed), speechlike(0.8, seed + 1))
    for each in (wave, target):
        assert each.dtype == np.float32 and each.shape == loud.shape
        assert np.isfinite(each).all() and np.abs(each).max() <= 1.0
    assert np.array_equal(wave, target) is not clean


def test_gain_stays_in_its_range_and_no_augmentation_changes_nothing() -> None:
    wave = (0.1 * speechlike(0.5, 1)).astype(np.float32)
    config = DataConfig(gain_db=6.0, bandwidth_share=0.0, noise_share=0.0)
    gains = [augment(wave, config, np.random.default_rng(seed))[0][2000] / wave[2000] for seed in range(50)]
    assert 10 ** (-6 / 20) <= min(gains) < 0.7 and 1.4 < max(gains) <= 10 ** (6 / 20) * 1.0001
    assert np.array_equal(augment(wave, DataConfig(**PLAIN), np.random.default_rng(0))[1], wave)


def test_the_low_pass_has_its_cutoff() -> None:
    noise = (0.1 * np.random.default_rng(1).standard_normal(24_000)).astype(np.float32)
    config = DataConfig(gain_db=0.0, bandwidth_share=1.0, noise_share=0.0, clean_targets=True)
    for wave in augment(noise, config, np.random.default_rng(2)):  # also the clean target
        power = np.abs(np.fft.rfft(wave)) ** 2
        hz = np.fft.rfftfreq(24_000, 1 / SAMPLE_RATE)
        assert power[(hz > 10_000)].mean() < 1e-4 * power[hz < 3000].mean()


def test_reverberation_has_its_decay_and_ratio() -> None:
    pulse = np.zeros(48_000, np.float32)
    pulse[1000] = 1
    wet = reverberate(pulse, decay_s=0.5, ratio_db=6.0, rng=np.random.default_rng(3))
    assert wet.shape == pulse.shape and wet.dtype == np.float32
    assert np.abs(wet[:1000]).max() < 1e-6 and abs(wet[1000] - 1) < 1e-6  # the direct sound, without delay
    tail = wet[1001:].astype(np.float64)
    assert abs(10 * np.log10(np.sum(tail**2)) + 6) < 0.01
    early, late = (10 * np.log10(np.mean(tail[n : n + 2400] ** 2)) for n in (1200, 7200))
    assert abs((early - late) - 60 * 6000 / 12_000) < 1.5  # 60 dB in 0.5 s


def test_only_read_errors_skip_a_file(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(source: Path, sample_rate: int) -> np.ndarray:
        raise RuntimeError("a bug in silkcodec")

    monkeypatch.setattr(data.audio, "read", broken)
    with pytest.raises(RuntimeError, match="a bug in silkcodec"):
        pack(DataConfig(folder=str(folder)), "train", tmp_path / "cache")


def test_batches_are_in_order() -> None:
    def make(step: int) -> Batch:
        if step == 7:
            raise ValueError("no such batch")
        time.sleep(0.01 * (step % 3 == 0))
        return Batch(*(torch.tensor(step) for _ in Batch._fields))

    with closing(Batches(make)) as batches:
        assert [int(batches.take(step).wave) for step in range(5)] == [0, 1, 2, 3, 4]
        assert int(batches.take(6).wave) == 6  # a run can resume at any step
        with pytest.raises(ValueError, match="no such batch"):
            batches.take(7)
