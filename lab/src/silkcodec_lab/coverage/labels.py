"""Determine the tone or sound in a speech file from its path, using the rules in `sounds.toml`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from silkcodec.evaluate.clips import Clip

RULES = Path(__file__).with_name("sounds.toml")

Label = tuple[str, str]  # kind and class


@dataclass(frozen=True)
class Rule:
    """Assign sound classes to the paths that match a pattern."""

    language: str
    kind: str
    pattern: re.Pattern[str]
    classes: dict[str, str]  # text -> class
    empty: str

    def label_of(self, path: str, language: str) -> Label | None:
        """Return the kind and the class of the sound in a file, or None if the rule does not match."""
        found = self.pattern.search(path) if language.startswith(self.language) else None
        if found is None:
            return None
        label = self.classes.get(found[1]) if self.classes else found[1] or self.empty
        return None if label is None else (self.kind, label)


@dataclass(frozen=True)
class Rules:
    """Hold all rules, and the names of the manifest columns that they need."""

    language: str
    paths: str
    rules: tuple[Rule, ...]

    def label_of(self, path: str, language: str) -> Label | None:
        """Return the kind and the class of the sound in a file, or None if no rule matches.

        >>> rules().label_of("64k/syllabs/cmn-qiao3.mp3", "zh"), rules().label_of("dataset/zero/1.wav", "ar")
        (('tone', '3'), ('sound', 'emphatic'))
        """
        labels = (rule.label_of(path, language) for rule in self.rules)
        return next((label for label in labels if label is not None), None)

    def labels_of(self, clip: Clip) -> list[Label | None]:
        """Return the label of each file in a clip, or an empty list if the manifest does not list the files."""
        language = clip.columns.get(self.language, "")
        paths = [path for path in clip.columns.get(self.paths, "").split(";") if path]
        return [self.label_of(path, language) for path in paths]


@cache
def rules() -> Rules:
    """Return the rules in `sounds.toml`."""
    found = tomllib.loads(RULES.read_text(encoding="utf-8"))
    read = [
        Rule(
            one["language"],
            one["kind"],
            re.compile(one["pattern"]),
            {text: name for name, texts in one.get("classes", {}).items() for text in texts},
            one.get("empty", ""),
        )
        for one in found["rule"]
    ]
    return Rules(found["language"], found["paths"], tuple(read))
