"""Convert the docstrings of this repository to the Google style that Griffe parses.

Four conventions need conversion:

    start_s, duration_s: one text for several names       becomes one entry per name with the same text
    AudioError: no samples. ArgumentError: out of range   becomes one entry per error
    a table or diagram that is not indented               becomes a code block
    a paragraph that starts with a prompt                 becomes a section of examples
"""

from __future__ import annotations

import re

SECTION = re.compile(r"^(\s*)(Args|Attributes|Raises):$")
ENTRY = re.compile(r"^(\w+(?:, \w+)*): (.*)$", re.DOTALL)
ALIGNED = re.compile(r"^\S.*( {2,}| -> )\S")


def rewritten(text: str) -> str:
    """Return a docstring in Google style.

    >>> print(rewritten('''Cut.
    ...
    ... Raises:
    ...     AudioError: no
    ...         samples. ArgumentError: n is 0.'''))
    Cut.
    <BLANKLINE>
    Raises:
        AudioError: no
            samples.
        ArgumentError: n is 0.
    """
    lines, done = text.split("\n"), []
    while lines:
        line = lines.pop(0)
        done.append(line)
        found = SECTION.match(line)
        if not found:
            continue
        entry = " " * (len(found[1]) + 4)
        while lines and (lines[0].startswith(entry) or not lines[0].strip()):
            item = [lines.pop(0)]
            while lines and lines[0].startswith(f"{entry} "):
                item.append(lines.pop(0))
            whole = "\n".join(item)
            if found[2] == "Raises":
                whole = re.sub(r"(?<=\.) (?=(?:\w+Error(?:, )?)+: )", f"\n{entry}", whole)
            done += [part for one in re.split(rf"\n{entry}(?! )", whole) for part in _per_name(one, entry)]
    paragraphs = "\n".join(done).split("\n\n")
    return "\n\n".join(map(_as_code, paragraphs))


def _per_name(item: str, entry: str) -> list[str]:
    """Split an entry for several names into one entry per name."""
    found = ENTRY.match(item.removeprefix(entry))
    if not item.strip() or not found:
        return [item]
    return [f"{entry}{name}: {found[2]}" for name in found[1].split(", ")]


def _as_code(paragraph: str) -> str:
    """Convert a paragraph to a section if it is an example, and to a code block if it is a table or diagram."""
    lines = paragraph.strip("\n").split("\n")
    if lines[0].startswith(">>>"):
        return "\n".join(["Examples:", *(f"    {line}" for line in lines)])
    if len(lines) > 1 and all(ALIGNED.match(line) for line in lines):
        return "\n".join(f"    {line}" for line in lines)
    return paragraph
