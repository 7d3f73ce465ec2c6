"""Write seed inputs for the fuzzer: small valid inputs of each kind.

python fuzz/make_corpus.py
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile

from silkcodec import container
from silkcodec.corpus import rows
from silkcodec.corpus.plan import Facts
from silkcodec.silk import EMBEDDED
from silkcodec.tokens import Tokens

CORPUS = Path(__file__).resolve().parent / "corpus"
TONE = (0.3 * np.sin(np.arange(600) / 9)).astype(np.float32)
FORMATS = (
    ("WAV", "PCM_16", 8000),
    ("WAV", "FLOAT", 8000),
    ("WAV", "IMA_ADPCM", 8000),
    ("WAV", "GSM610", 8000),
    ("RF64", "PCM_16", 8000),
    ("FLAC", "PCM_16", 8000),
    ("OGG", "VORBIS", 8000),
    ("OGG", "OPUS", 48_000),
    ("MP3", "MPEG_LAYER_III", 24_000),
    ("AIFF", "PCM_16", 8000),
    ("AU", "PCM_16", 8000),
    ("CAF", "ALAC_16", 8000),
    ("W64", "PCM_16", 8000),
    ("NIST", "PCM_16", 8000),
)


def save(target: str, name: str, data: bytes) -> None:
    """Write a seed input for a target."""
    folder = CORPUS / target
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def sound(kind: str, subtype: str, rate: int) -> bytes:
    """Return a short tone as an audio file."""
    file = io.BytesIO()
    soundfile.write(file, TONE, rate, format=kind, subtype=subtype)
    return file.getvalue()


def silk_files() -> None:
    """Write .silk files with every layout."""
    rng = np.random.default_rng(0)
    for name, dims, entropy, chunk, known in (
        ("raw", 7, False, None, True),
        ("coded", 7, True, None, True),
        ("chunks", 7, True, 2, False),
        ("regrouped", 20, False, 3, True),
    ):
        levels = rng.normal(3.5, 0.6, (6, 128)).round().clip(0, 7).astype(int)
        tokens = Tokens.from_levels(levels, n_samples=6 * 9600 - 5, codec="silk@0a1b2c3d4e5f", dims_per_token=dims)
        file = io.BytesIO()
        with container.Writer(
            file,
            codec=tokens.codec,
            dims_per_token=dims,
            entropy=entropy,
            chunk_frames=chunk,
            n_samples=tokens.n_samples if known else None,
        ) as writer:
            writer.write(np.stack(tokens.codes, axis=1))
            writer.finish(tokens.n_samples)
        save("silk_file", f"{name}.bin", b"\0" + file.getvalue())
        save("silk_file", f"{name}_forged.bin", b"\1" + file.getvalue())


def corpora() -> None:
    """Write an Arrow table and tar archives that contain recordings."""
    wave, flac = sound("WAV", "PCM_16", 8000), sound("FLAC", "PCM_16", 8000)
    table = pa.table(
        {
            "audio": pa.array([{"bytes": wave, "path": "a.wav"}, {"bytes": None, "path": "../x.wav"}]),
            "text": ["a", None],
            "id": ["i1", "i2"],
        }
    )
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as writer:
        writer.write_table(table)
    save("corpus_arrow", "table.bin", stream.getvalue())
    for name, kind in (("pax", tarfile.PAX_FORMAT), ("gnu", tarfile.GNU_FORMAT)):
        stream = io.BytesIO()
        with tarfile.open(fileobj=stream, mode="w", format=kind) as tar:
            for member, content in (
                ("a.wav", wave),
                ("a.txt", b"hello"),
                ("a.json", b'{"x": 1}'),
                ("é" * 60 + ".flac", flac),
            ):
                entry = tarfile.TarInfo(member)
                entry.size = len(content)
                tar.addfile(entry, io.BytesIO(content))
        save("corpus_tar", f"{name}.bin", stream.getvalue())


def manifests() -> None:
    """Write a manifest in each format. The first byte is the index of the format in `targets.MANIFESTS`."""
    table = b'path\tspeaker\ttext\na/1.wav\tann\thello\nb.flac\t\t"x"\n'
    save("manifest", "tsv.bin", b"\0" + table)
    save("manifest", "csv.bin", b'\1id,audio_filepath\n1,"a, b.wav"\n')
    save("manifest", "jsonl.bin", b'\2{"audio_filepath": "a.wav", "text": null}\n\n{"path": "b.wav", "x": 1.5}\n')
    save("manifest", "scp.bin", b"\3one a.wav\ntwo\tb.wav\nthree sox c.wav |\nfour d.ark:15\n")
    save("manifest", "gzip.bin", b"\4" + gzip.compress(table, mtime=0))


def shards() -> None:
    """Write a Parquet shard and a tar shard of a corpus."""
    sizes, rates = (256, 4), (100.0, 50.0)
    facts = Facts("peaks@0123456789ab", 24_000, sizes, rates, False)
    codes = [np.arange(4) * 60, np.arange(2)]
    tokens = Tokens(tuple(codes), sizes, rates, 24_000, 900, facts.codec)
    for name, kind, first in (("parquet", "parquet", b"\0"), ("tar", "webdataset", b"\1")):
        file = io.BytesIO()
        writer = rows.WRITERS[kind](file, facts)
        for id in ("a", "b"):
            writer.add(rows.sealed(id, f"{id}.wav", 0.0, tokens, {"text": "hello"}))
        writer.close()
        save("shard", f"{name}.bin", first + file.getvalue())


def field(number: int, content: bytes) -> bytes:
    """Return a protobuf field that contains bytes."""
    return bytes([number << 3 | 2, len(content)]) + content


def weights_and_messages() -> None:
    """Write a weights config, an ONNX graph, and client messages."""
    save("weights", "config.bin", b"\0" + (EMBEDDED / "config.json").read_bytes())
    tensor = field(8, b"w") + field(9, b"weights!") + bytes([14 << 3, 0])
    node = field(1, b"x") + field(4, b"Constant") + field(5, field(1, b"value") + field(5, tensor))
    graph = bytes([1 << 3, 8]) + field(7, field(1, node) + field(5, tensor) + field(15, field(1, tensor)))
    save("weights", "graph.bin", b"\1" + graph)
    codes = [[0] * 18 + [3], [5] * 18 + [63]]
    start = {"type": "start", "task": "decode", "samples": "f32le", "n_codebooks": 19, "n_samples": 12_000}
    tokens = {"type": "tokens", "codes": codes}
    end = b'{"type":"end"}'
    binary = b"B" + np.array(codes, "<i4").tobytes().hex().encode()
    decode = b"\0".join([json.dumps(start).encode(), json.dumps(tokens).encode(), binary, end])
    encode = b"\0".join(
        [b'{"type":"start","task":"encode","sample_rate":8000,"tokens":"binary"}', b"B" + b"00ff" * 90, end]
    )
    save("messages", "decode.bin", b"\0" + decode)
    save("messages", "encode.bin", b"\0" + encode)
    save(
        "messages", "json.bin", b"\1" + json.dumps({"codes": codes, "dims_per_token": 7, "n_samples": 12_000}).encode()
    )


if __name__ == "__main__":
    silk_files()
    for kind, subtype, rate in FORMATS:
        save("sound", f"{kind}_{subtype}.bin".lower(), sound(kind, subtype, rate))
    corpora()
    manifests()
    shards()
    weights_and_messages()
