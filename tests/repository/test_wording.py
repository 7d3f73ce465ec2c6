"""Test that shipped texts do not contain the phrases listed below."""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from repository import ROOT

PHRASES = (  # (words of which every match contains one, regular expression in lower case, replacement)
    # Codecs and models
    ("foreign peer", r"foreign codecs?|peer codecs?|codec peers?|peers", "baseline codecs"),
    ("snap", r"lost by snapping|the snap", "quantization error"),
    ("burden", r"(?<!\")burdens?(?!\")", "cost for a language model; token rate"),
    (
        "heard",
        r"(heard|unheard) speakers?|speakers? (it )?(has |have )?(not )?heard|unheard",
        "seen or unseen speakers",
    ),
    ("new", r"new (speakers?|voices?)", "unseen speakers"),
    ("reach", r"(the|its|their|a|whose|longer|shorter|large|small|long|short) reach|reach of", "receptive field"),
    ("young", r"young (model|codec|weights)|model is young", "early checkpoint"),
    ("adversary", r"no adversary( yet)?", "trained without a discriminator"),
    ("judg", r"judges?|(is|are|was|were) judged|judged by", "evaluator, metric model, recognizer; to evaluate"),
    (
        "flatter please",
        r"flatter(s|ed|ing)?|(was|were|is|are) trained to please",
        "optimized directly by a training loss",
    ),
    ("reviv free", r"reviv(e|ed|es|ing|als?)|sets? free", "reset stuck dimensions"),
    # Data does nothing by itself
    ("told", r"(is|are|was|were|be|been|being|not|cannot be) told", "reported, listed; not significantly different"),
    ("apart", r"(told|tell|tells) apart", "distinguish; significantly different"),
    ("promise", r"(header|footer|file|tag|plan|layout)s? (promise|promises|promised)", "declares"),
    ("asked", r"(is|are|was|were|be) asked (for|to)|nobody is asked", "requested; say what the program does"),
    (
        "codec header manifest",
        r"(codec|header|manifest)s? (say|says|hear|hears|know|knows|ask|asks)",
        "declares, has, needs",
    ),
    ("watching", r"nobody is watching", "does nothing"),
    # Runs and processes
    ("go goes going", r"(go|goes|going) on", "resume, continue"),
    (
        "die dying",
        r"(worker|process|actor|server|machine|run)s?( that| which)?( has| have| had)? die|dies|died|dying",
        "crash",
    ),
    ("down", r"(go|goes|going|gone|went) down", "crash; fall"),
    ("death", r"(worker|process|actor)'s death|deaths? of (a|the|its) (worker|process|actor)", "crash, exit"),
    ("ours", r"(bug|fault|mistake)s? of ours", "a bug in silkcodec"),
    # Files
    ("salvag", r"salvag(e|ed|es|ing)", "the recovered part"),
    ("before", r"what lies before|before what is damaged", "the part before the damage"),
    ("short", r"cut short", "truncated"),
    ("left", r"left out", "skipped, excluded, ignored"),
    ("sound", r"sound files?", "audio file"),
    ("back", r"there and back", "encode and decode"),
    ("apart", r"take (them|it) apart", "split"),
    ("left", r"(what is|what was|how much is) left of", "the remaining part"),
    # Quantities and options
    (
        "many",
        r"so many (seconds|bytes|hours|times|clips|threads|frames|samples|steps|codebooks|workers|parts)",
        "N ...",
    ),
    ("one", r"one a (core|line|shard|minute|frame|clip|codec|row|stream|process)", "one per ..."),
    (
        "line object row",
        r"(line|object|row) a (line|shard|minute|frame|clip|codec|row|stream|recording)",
        "one per ...",
    ),
    ("again", r"\w+[;:.] again[.\"']|again for more", "Repeatable."),
    ("commas", r"with commas", "separated by commas"),
    ("none", r"' is none[.;]", "state the value"),
    # Riddles
    ("promise", r"does not promise", "limitations"),
    ("became business stand", r"what became of|whose own business|stands? in the way", "say it plainly"),
    ("never", r"never is|never are", "subject, verb, object"),
    # Spelling
    (
        "is our centre",
        r"(optim|initial|recogn|summar|serial|organ|minim|maxim|quant|token|normal|factor)is(e|es|ed|er|ers|ing|ation|ations)"
        r"|(behavi|col|neighb)ours?|centre[ds]?",
        "American spelling",
    ),
)
SUFFIXES = {
    ".py", ".md", ".ts", ".svelte", ".html", ".ipynb", ".toml", ".cff", ".yml", ".yaml", ".js", ".mjs", ".css", ".svg",
    ".service", ".in", ".txt",
}  # fmt: skip
FOLDERS = (
    "src", "pytorch", "lab", "docs", "web", "website", "examples", "bench", "fuzz", "requirements", "deploy", "samples",
    "tests", ".github",
)  # fmt: skip
QUOTED = ROOT / "pytorch" / "synthesis" / "text"  # sentences from books
BUILT = {"node_modules", "dist", "__pycache__", "build", "site", "data"}
FILES = (
    "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "CITATION.cff", "pyproject.toml", "conftest.py",
    "mkdocs.yml", "Makefile", "Dockerfile", ".dockerignore", ".gitattributes", ".pre-commit-config.yaml",
)  # fmt: skip
GAP = r"(?:[\s#*\"]|//|\bf(?=\"))+"  # gap between two words, which can be a line break in a comment or string
TEXTS = {tokenize.STRING, tokenize.COMMENT, getattr(tokenize, "FSTRING_MIDDLE", tokenize.STRING)}


def pattern(phrase: str) -> re.Pattern[str]:
    """Return a regular expression that matches a phrase as whole words."""
    return re.compile(rf"(?<!\w)(?:{phrase.replace(' ', GAP)})(?!\w)")


PATTERNS = [(words.split(), pattern(phrase), instead) for words, phrase, instead in PHRASES]


def shipped() -> Iterator[Path]:
    """Yield the text files that users or contributors read, except quoted texts and this file with the phrases."""
    yield from (ROOT / name for name in FILES)
    for folder in FOLDERS:
        for file in sorted((ROOT / folder).rglob("*")):
            is_built = bool(BUILT & set(file.relative_to(ROOT).parts))
            is_own = file.parent != QUOTED and file != Path(__file__).resolve()
            if file.suffix in SUFFIXES and not is_built and is_own:
                yield file


def in_code(content: str) -> set[tuple[int, int]]:
    """Return the position (line, column) of each token in a Python file that is not text."""
    tokens = tokenize.generate_tokens(io.StringIO(content).readline)
    return {token.start for token in tokens if token.type not in TEXTS and token.string.strip()}


def findings(name: str, content: str) -> list[str]:
    """Return "FILE:LINE: phrase -> replacement" for each listed phrase in a file."""
    text = content.lower()
    matches = [
        (match, instead)
        for words, banned, instead in PATTERNS
        if any(word in text for word in words)
        for match in banned.finditer(text)
    ]
    code = in_code(content) if matches and name.endswith(".py") else set()
    found = []
    for match, instead in matches:
        line, column = text.count("\n", 0, match.start()) + 1, match.start() - text.rfind("\n", 0, match.start()) - 1
        if (line, column) not in code:
            found.append(f"{name}:{line}: {' '.join(match[0].split())!r} -> {instead}")
    return found


def test_no_shipped_text_has_a_banned_phrase() -> None:
    files = list(shipped())
    assert len(files) > 550
    found = [
        finding for file in files for finding in findings(str(file.relative_to(ROOT)), file.read_text(encoding="utf-8"))
    ]
    assert not found, "\n".join(["Rewrite these texts:", *found])


@pytest.mark.parametrize(
    ("content", "n_found"),
    [
        ('"""A codec that fails is told, and the others go on."""', 2),
        ("# The others go\n# on without it.", 1),
        ('raise SilkError("it is cut "\n    f"short at {byte}")', 1),
        ("found = told if not told else go_on", 0),
        ('"""The judgement of adversarial losses, a foreign key and the snapshot."""', 0),
        ("x = codes is None  # the remaining part", 0),
    ],
)
def test_phrases_are_found_in_text_and_not_in_code(content: str, n_found: int) -> None:
    assert len(findings("a.py", content)) == n_found
