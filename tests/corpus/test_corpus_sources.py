"""Test that all inputs of `silk tokenize` give the same recordings, and that malicious inputs do no harm."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import corpuscodecs
from silkcodec import audio
from silkcodec.corpus import plan as planning
from silkcodec.corpus import sources
from silkcodec.corpus.items import Item, Refused, UniqueIds
from silkcodec.corpus.plan import CorpusSettings
from silkcodec.corpus.rows import Row
from silkcodec.corpus.shard import ShardJob, facts_of, load_codec, shard_name, tokenize_shard
from silkcodec.corpus.tokenized import Corpus
from silkcodec.errors import ArgumentError, AudioError, SilkError

RATE = 24_000


def found(*inputs: Path, outside: bool = False) -> list[Item | Refused]:
    return list(sources.items(sources.roots(inputs), outside))


def rows(
    out: Path, *inputs: Path, outside: bool = False, codec: Any = None, **more: Any
) -> tuple[list[Row], dict[str, str]]:
    """Make a corpus in this process, which is fast. Return its rows and the rejected ids."""
    codec = codec or corpuscodecs.Peaks()
    defaults: dict[str, Any] = {"shard_items": 4, "max_segment_s": None, "max_hours": 1.0, "provider": "cpu"}
    settings = CorpusSettings(facts_of(codec), "webdataset", allow_outside=outside, **{**defaults, **more})
    roots = sources.roots(inputs)
    plan = planning.make(planning.folder_for(out), sources.items(roots, outside), settings, {"load": "peaks"})
    job = ShardJob(settings, "peaks", tuple(root.folder for root in roots), str(out), plan.hash, plan.n_shards)
    reasons = {entry.id: entry.reason for entry in plan.refused()}
    for index in range(plan.n_shards):
        record = tokenize_shard(codec, plan.shard(index), job)
        assert record["file"] == shard_name(job, index)
        reasons |= {entry["id"]: entry["reason"] for entry in record["quarantined"]}
    return list(Corpus(out, verify=True)), reasons


def tar(file: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(file, "w") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return file


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    return corpuscodecs.clips(tmp_path / "in", 3)


def tokens_of(file: Path, first: int = 0, n: int | None = None) -> Any:
    wave = audio.read(file)[first:]
    return corpuscodecs.Peaks().encode(wave if n is None else wave[:n], RATE)


def test_folders_and_files(tmp_path: Path, clips: Path) -> None:
    corpuscodecs.clips(clips / "deep/er", 1)
    corpuscodecs.clips(clips / ".hidden", 1)
    (clips / "notes.txt").write_text("no sound")
    assert [item.id for item in found(clips)] == ["clip000", "clip001", "clip002", "deep/er/clip000"]
    (clips / "deep" / "no.tar").write_text("no tar, but one of many files")
    assert [getattr(item, "reason", "used") for item in found(clips)] == ["used"] * 4 + ["unreadable"]
    (clips / "deep" / "no.tar").unlink()
    inside = list(sources.items(sources.roots([clips], clips / "deep"), False))
    assert [item.id for item in inside] == ["clip000", "clip001", "clip002"], "the output folder is not an input"
    other = corpuscodecs.clips(tmp_path / "more", 1)
    both = found(clips, other)
    assert [item.path for item in both][-2:] == ["in/deep/er/clip000.wav", "more/clip000.wav"]
    assert [item.path for item in found(clips / "clip001.wav")] == ["clip001.wav"]
    with pytest.raises(ArgumentError, match="different names"):
        found(clips, corpuscodecs.clips(tmp_path / "x/in", 1))


@pytest.mark.parametrize("kind", ["tsv", "csv", "jsonl", "jsonl.gz"])
def test_manifests(tmp_path: Path, clips: Path, kind: str) -> None:
    table = [
        {"path": "in/clip000.wav", "id": "one", "text": "ein, zwei", "start": "0.1", "duration": "0.25"},
        {"path": "in/clip001.wav", "id": "", "text": "drei", "start": "", "duration": ""},
    ]
    file = tmp_path / f"list.{kind}"
    if kind.startswith("json"):
        content = "".join(json.dumps(row) + "\n" for row in table)
    elif kind == "csv":
        content = ",".join(table[0]) + "\n" + "".join(",".join(f'"{v}"' for v in row.values()) + "\n" for row in table)
    else:
        content = "".join("\t".join(values) + "\n" for values in (list(table[0]), *(row.values() for row in table)))
    file.write_bytes(gzip.compress(content.encode()) if kind.endswith("gz") else content.encode())
    made, refused = rows(tmp_path / "out", file)
    assert refused == {}
    assert [(row.id, row.path, row.start, dict(row.meta)) for row in made] == [
        ("one", "in/clip000.wav", 0.1, {"text": "ein, zwei"}),
        ("in/clip001", "in/clip001.wav", 0.0, {"text": "drei"}),
    ]
    assert made[0].tokens == tokens_of(clips / "clip000.wav", 2_400, 6_000)
    assert made[1].tokens == tokens_of(clips / "clip001.wav")


def test_nemo_manifests_call_the_start_an_offset(tmp_path: Path, clips: Path) -> None:
    row = {"audio_filepath": "in/clip000.wav", "offset": 0.25, "duration": 0.2504, "text": "x"}
    (tmp_path / "m.json").write_text(json.dumps(row))
    (item,) = found(tmp_path / "m.json")
    assert isinstance(item, Item) and (item.start_s, item.duration_s) == (0.25, 0.2504)
    assert rows(tmp_path / "out", tmp_path / "m.json")[0][0].tokens.n_samples == 6_000, "a rounded end is valid"


def test_lhotse_cuts_as_lhotse_writes_them(tmp_path: Path) -> None:
    lhotse = pytest.importorskip("lhotse", reason="a development requirement")
    import soundfile

    waves = np.random.default_rng(0).uniform(-0.5, 0.5, (24_000, 2))
    soundfile.write(tmp_path / "two.wav", waves, RATE)
    recording = lhotse.Recording.from_file(tmp_path / "two.wav")
    said = lhotse.SupervisionSegment("s", "two", 0, 0.5, channel=1, text="hallo", speaker="ann", language="de")
    cut = lhotse.MonoCut("right", 0.25, 0.5, 1, supervisions=[said], recording=recording)
    cuts = [cut, recording.to_cut().with_id("both"), cut.pad(2.0).with_id("padded"), cut.perturb_speed(0.9)]
    command = lhotse.audio.AudioSource("command", [0], f"touch {tmp_path}/owned")
    forged = lhotse.Recording("f", [command], RATE, 24_000, 1.0)
    cuts.append(forged.to_cut().with_id("command"))
    lhotse.CutSet.from_cuts(cuts).to_file(tmp_path / "cuts.jsonl.gz")
    made, refused = rows(tmp_path / "out", tmp_path / "cuts.jsonl.gz")
    assert refused == {"padded": "row", "right_sp0.9": "row", "command": "row"}
    assert not (tmp_path / "owned").exists()
    assert [(row.id, row.start, dict(row.meta)) for row in made] == [
        ("right", 0.25, {"text": "hallo", "speaker": "ann", "language": "de"}),
        ("both", 0.0, {}),
    ]
    written, _ = soundfile.read(tmp_path / "two.wav", dtype="float32")
    assert made[0].tokens == corpuscodecs.Peaks().encode(written[6_000:18_000, 1], RATE), "one channel, not the mean"
    assert made[0].tokens.n_samples == cut.num_samples
    assert made[1].tokens == tokens_of(tmp_path / "two.wav")


def test_webdataset_tars_are_read_in_place(tmp_path: Path, clips: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="a development requirement")
    sounds = [(clips / f"clip00{i}.wav").read_bytes() for i in range(3)]
    with webdataset.TarWriter(str(tmp_path / "speech.tar")) as writer:
        for i, sound in enumerate(sounds):
            writer.write({"__key__": f"a/{i}", "wav": sound, "json": {"speaker": "ann"}, "txt": f"text {i}"})
    made, refused = rows(tmp_path / "out", tmp_path / "speech.tar")
    assert refused == {}
    assert [(row.id, row.path) for row in made] == [(f"a/{i}", f"speech.tar/a/{i}.wav") for i in range(3)]
    assert dict(made[1].meta) == {"speaker": "ann", "text": "text 1"}
    assert [row.tokens for row in made] == [tokens_of(clips / f"clip00{i}.wav") for i in range(3)]
    os.replace(tmp_path / "speech.tar", clips / "speech.tar")
    assert [item.path for item in found(clips)][-1] == "speech.tar/a/2.wav", "a folder can contain tars"


def test_hidden_members_of_a_tar_are_skipped(tmp_path: Path, clips: Path) -> None:
    sound = (clips / "clip000.wav").read_bytes()
    names = {"a/._1.wav": b"resource fork", "a/1.wav": sound, "a/._1.json": b"{}", "a/1.json": b'{"text": "one"}'}
    made, refused = rows(tmp_path / "out", tar(tmp_path / "mac.tar", names))
    assert refused == {} and [(row.id, dict(row.meta)) for row in made] == [("a/1", {"text": "one"})]
    (tmp_path / "my.target.wav").write_bytes(sound)
    assert [item.id for item in found(tmp_path / "my.target.wav")] == ["my.target"]


def test_a_replaced_dataset_is_read_again(tmp_path: Path, clips: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs [corpus]")
    for number, texts in enumerate((["old A", "old B"], ["new C", "new D", "new E"])):
        sounds = [
            {"bytes": (clips / f"clip00{number + i % 2}.wav").read_bytes(), "path": None} for i in range(len(texts))
        ]
        columns = {"audio": pyarrow.array(sounds), "text": texts, "sound": ["bark"] * len(texts)}
        table = pyarrow.table(columns | {"snr": [float("nan")] * len(texts)})
        (tmp_path / "saved").mkdir(exist_ok=True)
        file = tmp_path / "saved" / "d.arrow"
        with pyarrow.OSFile(str(file), "wb") as out, pyarrow.ipc.new_stream(out, table.schema) as writer:
            writer.write_table(table)
        os.utime(file, (1_000 + number, 1_000 + number))
        (tmp_path / "saved/state.json").write_text('{"_data_files": [{"filename": "d.arrow"}]}')
        made, refused = rows(tmp_path / f"out{number}", tmp_path / "saved")
        assert refused == {} and [dict(row.meta) for row in made] == [{"text": text, "sound": "bark"} for text in texts]
        assert made[0].tokens == tokens_of(clips / f"clip00{number}.wav")


@pytest.mark.parametrize("splits", [False, True])
def test_hugging_face_datasets_on_disk(tmp_path: Path, clips: Path, splits: bool) -> None:
    datasets = pytest.importorskip("datasets", reason="a development requirement")
    pytest.importorskip("pyarrow", reason="needs [corpus]")
    audios: list[Any] = [{"bytes": (clips / "clip000.wav").read_bytes(), "path": "x.wav"}]
    audios += [{"bytes": None, "path": str(clips / "clip001.wav")}, {"bytes": None, "path": "/etc/hostname"}]
    made = datasets.Dataset.from_dict({"audio": audios, "text": ["a", "b", "c"]})
    made = made.cast_column("audio", datasets.Audio(decode=False))
    made = datasets.DatasetDict({"train": made, "test": made.select([0])}) if splits else made
    made.save_to_disk(tmp_path / "saved")
    done, refused = rows(tmp_path / "out", tmp_path / "saved")
    names = ["test-00000000", "train-00000000", "train-00000001", "train-00000002"] if splits else [
        f"row-{i:08d}" for i in range(3)
    ]  # fmt: skip
    assert [row.id for row in done] == names[:-1] and refused == {names[-1]: "unreadable"}
    assert done[-2].tokens == tokens_of(clips / "clip000.wav") and done[-1].tokens == tokens_of(clips / "clip001.wav")
    assert dict(done[-2].meta) == {"text": "a", "file": "x.wav"}


def test_datasets_with_paths_instead_of_bytes(tmp_path: Path, clips: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="needs [corpus]")
    paths = ["clip000.wav", "../secret.wav", None]
    sounds = pyarrow.array([{"bytes": None, "path": path} for path in paths])
    table = pyarrow.table({"id": ["a", "b", "c"], "audio": sounds, "score": [1.5, None, 2.5]})
    with pyarrow.OSFile(str(clips / "d.arrow"), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    (clips / "state.json").write_text('{"_data_files": [{"filename": "d.arrow"}]}')
    done, refused = rows(tmp_path / "out", clips)
    assert refused == {"b": "outside", "c": "row"}
    assert [(row.id, row.path, dict(row.meta)) for row in done] == [
        ("a", "d.arrow#0", {"file": "clip000.wav", "score": 1.5})
    ]
    assert done[0].tokens == tokens_of(clips / "clip000.wav")


def test_paths_cannot_leave_the_folder_of_the_manifest(tmp_path: Path, clips: Path) -> None:
    (tmp_path / "secret.wav").write_bytes((clips / "clip000.wav").read_bytes())
    (clips / "link.wav").symlink_to(tmp_path / "secret.wav")
    (clips / "folder").symlink_to(tmp_path)
    paths = ["../secret.wav", str(tmp_path / "secret.wav"), "x/../../secret.wav", "link.wav", "folder/secret.wav"]
    paths += ["clip000.wav", str(clips / "clip001.wav"), "a\0b.wav", "", "gone.wav", "."]
    lines = [json.dumps({"path": path, "id": str(i)}) for i, path in enumerate(paths) if path]
    (clips / "m.jsonl").write_text("\n".join(lines))
    made, refused = rows(tmp_path / "out", clips / "m.jsonl")
    assert [row.path for row in made] == ["clip000.wav", "clip001.wav"]
    assert refused == {**dict.fromkeys("01234", "outside"), "7": "name", "9": "missing", "10": "unreadable"}
    made, refused = rows(tmp_path / "out2", clips / "m.jsonl", outside=True)
    assert len(made) == 7 and set(refused) == {"7", "9", "10"}


HOSTILE_ROWS: list[dict[str, Any]] = [
    {"id": "a\x1b[31m"},
    {"id": "x" * 2_000},
    {"id": "half \ud800"},
    {"id": "late", "start": 1e300},
    {"id": "nan", "start": "nan"},
    {"id": "negative", "duration": -1},
    {"id": "never", "duration": 0},
    {"id": "beyond", "start": 50},
    {"id": "too far", "start": 0.1, "duration": 5},
    {"id": "wordy", "text": "x" * 100_000},
    {"id": {"a": []}, "start": [1]},
]


def test_hostile_rows_are_refused_one_by_one(tmp_path: Path, clips: Path) -> None:
    lines = [json.dumps({"path": "in/clip000.wav", **row}) for row in [*HOSTILE_ROWS, {"id": "good", "text": "\ud800"}]]
    (tmp_path / "m.jsonl").write_text("\n".join(lines))
    made, refused = rows(tmp_path / "out", tmp_path / "m.jsonl")
    assert [(row.id, dict(row.meta)) for row in made] == [("good", {"text": "?"})]
    assert len(refused) == len(HOSTILE_ROWS) and set(refused.values()) == {"name", "row", "unreadable"}
    assert all(id.isprintable() and len(id) <= 1_000 for id in refused)


def test_duplicate_ids_get_a_number(tmp_path: Path, clips: Path) -> None:
    unique = UniqueIds()
    assert [unique(id) for id in ("a", "a~2", "a", "a", "b")] == ["a", "a~2", "a~3", "a~4", "b"]
    (tmp_path / "m.csv").write_text("path,id\n" + "in/clip000.wav,same\n" * 3)
    assert [row.id for row in rows(tmp_path / "out", tmp_path / "m.csv")[0]] == ["same", "same~2", "same~3"]


def forged(change: dict[str, Any]) -> bytes:
    member = tarfile.TarInfo("a.wav")
    for key, value in change.items():
        setattr(member, key, value)
    return member.tobuf(tarfile.GNU_FORMAT)


def hostile_tars(sound: bytes) -> Iterator[tuple[str, bytes, list[str]]]:
    padded = sound + bytes(-len(sound) % 512)
    good = tarfile.TarInfo("good.wav")
    good.size = len(sound)
    head, end = good.tobuf() + padded, bytes(1024)
    yield "a size that lies", head + forged({"size": 10**12}) + b"x" * 512, ["used", "unreadable"]
    yield "a negative size", head + forged({"size": -512}) + end, ["used", "unreadable"]
    yield "truncated", head + forged({"size": 4_096}) + b"x" * 100, ["used", "unreadable"]
    huge = forged({"size": 1 << 31, "type": tarfile.XHDTYPE})
    yield "headers of gigabytes", head + huge + end, ["used", "unreadable"]
    yield "a link", head + forged({"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}) + end, ["used", "unreadable"]
    yield "a device", head + forged({"type": tarfile.CHRTYPE}) + end, ["used", "unreadable"]
    yield "a name upwards", forged({"name": "../../etc/x.wav", "size": len(sound)}) + padded + end, ["used"]
    yield "a name in control", forged({"name": "\x1b]0;x.wav", "size": len(sound)}) + padded + end, ["name"]
    yield "garbage after", head + b"\xff" * 2048, ["used", "unreadable"]


def test_hostile_tars(tmp_path: Path, clips: Path) -> None:
    for number, (what, content, expected) in enumerate(hostile_tars((clips / "clip000.wav").read_bytes())):
        (tmp_path / f"{number}.tar").write_bytes(content)
        items = found(tmp_path / f"{number}.tar")
        assert [getattr(item, "reason", "used") for item in items] == expected, what
        if "used" in expected:
            made, _ = rows(tmp_path / f"out{number}", tmp_path / f"{number}.tar")
            assert [row.tokens for row in made] == [tokens_of(clips / "clip000.wav")], what
    above = (folder / "x.wav" for folder in tmp_path.parents)
    assert not [*tmp_path.rglob("x.wav"), *(path for path in above if path.exists())], "nothing is extracted"
    for name, content in (("x.tar.gz", gzip.compress(bytes(2048))), ("y.tar", b"no tar" * 200)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ArgumentError, match="uncompressed tar"):
            found(tmp_path / name)


def test_links_cannot_lead_out_of_the_input(tmp_path: Path, clips: Path) -> None:
    text = json.dumps({"text": "a secret"}).encode()
    sound = (clips / "clip000.wav").read_bytes()
    secret = tar(tmp_path / "secret.tar", {"a.wav": sound, "a.json": text})
    (clips / "link.tar").symlink_to(secret)
    (clips / "gone.tar").symlink_to("nowhere.tar")
    items = found(clips)
    assert [getattr(item, "reason", "used") for item in items] == ["used"] * 3 + ["missing", "outside"]
    assert "a secret" not in repr(items)
    assert [item.id for item in found(clips, outside=True)][-1] == "a"
    inside = tar(clips / "real.tar", {"b.wav": sound})
    (clips / "link.tar").unlink()
    (clips / "link.tar").symlink_to(inside.name)
    assert [item.id for item in found(clips)][-2:] == ["b", "b"]


def test_small_files_with_hours_of_audio(tmp_path: Path) -> None:
    import soundfile

    with soundfile.SoundFile(tmp_path / "bomb.flac", "w", 8_000, 1) as file:
        for _ in range(60):
            file.write(np.zeros(8_000 * 60, np.int16))
    assert (tmp_path / "bomb.flac").stat().st_size < 500_000
    audio.write(tmp_path / "good.wav", np.zeros(30_000, np.float32))
    made, refused = rows(tmp_path / "out", tmp_path / "bomb.flac", tmp_path / "good.wav", max_hours=0.5)
    assert refused == {"bomb": "too long"} and [row.id for row in made] == ["good"]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (gzip.compress(b'{"path": "a"}\n', mtime=0)[:-9], "Cannot read manifest"),
        (b"\x1f\x8bnothing", "Cannot read manifest"),
        (gzip.compress(b"", mtime=0), "must have at least one row"),
    ],
)
def test_a_damaged_manifest_is_one_sentence(tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "m.jsonl.gz").write_bytes(content)
    with pytest.raises(ArgumentError, match=says):
        found(tmp_path / "m.jsonl.gz")


def test_damaged_datasets_are_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="needs [corpus]")
    saved = tmp_path / "saved"
    saved.mkdir()
    for state in ("[]", "{", '{"_data_files": [{"filename": 3}]}', '{"_data_files": [{"filename": "../../x"}]}'):
        (saved / "state.json").write_text(state)
        with pytest.raises(SilkError):
            found(saved)
    (saved / "state.json").write_text('{"_data_files": [{"filename": "d.arrow"}]}')
    (saved / "d.arrow").write_bytes(b"\xff\xff\xff\xff" + b"garbage" * 100)
    with pytest.raises(ArgumentError, match=r"d\.arrow"):
        found(saved)


def test_a_neural_baseline(tmp_path: Path, clips: Path, random_baseline: Any) -> None:
    """Use no worker processes, because each would import PyTorch."""
    codec = load_codec(f"mimi:8@{random_baseline('mimi')}", "cpu")
    made, refused = rows(tmp_path / "out", clips, codec=codec)
    assert refused == {}
    assert [row.tokens for row in made] == [codec.encode(audio.read(clips / row.path), RATE) for row in made]


def test_inputs_without_recordings_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArgumentError, match="at least one usable recording"):
        rows(tmp_path / "out", tmp_path / "empty")
    with pytest.raises(AudioError, match="Input not found"):
        found(tmp_path / "nowhere")
