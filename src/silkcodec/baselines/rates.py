"""What each codec makes of a second of speech, as it was measured: for lists that must load no codec.

`rates.json` holds the part of bench/codecs.json that is the same on every machine; `make bench-codecs` writes both.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FILE = Path(__file__).parent / "rates.json"


def measured() -> dict[str, dict[str, Any] | None]:
    """Every codec and preset of ours -> its rates, or None where it could not be measured.

    tokens_per_second and bits_per_second are of the codec's clock; counted_tokens_per_second is of counted_s of
    speech, the last frame filled up. `listed`: one of those that stand for their codec in a short list.
    """
    codecs: dict[str, dict[str, Any] | None] = json.loads(FILE.read_text(encoding="utf-8"))["codecs"]
    return codecs
