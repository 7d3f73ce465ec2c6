"""Publish the files of the repository that the documentation links to, so that no link leaves the site.

A page in docs/ may link to any file of the checkout, for example `../src/silkcodec/silk/model.py`. On the site, such a
link leads to a page under `files/`. A Markdown file becomes a page with its own links, source code becomes a page with
highlighting, and any other file is copied. The pages are not part of the navigation or of the search.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterator
from pathlib import Path

LANGUAGES = {
    ".py": "python", ".toml": "toml", ".json": "json", ".mjs": "javascript", ".html": "html", ".yml": "yaml",
    ".service": "ini", "": "text", ".txt": "text", ".tsv": "text", ".cff": "yaml",
}  # fmt: skip
LINK = re.compile(r"(?<=\]\()([^)\s]+)(?=\))")
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)  # is left as it is
HIDDEN = "---\nhide: [navigation, toc]\nsearch:\n  exclude: true\n---\n\n"
FOLDER = "files"


class BrokenLink(Exception):
    """Report a link to a file that is not in the repository."""


class Repository:
    """Describe the checkout at `root`, whose documentation is in `docs`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def site_path(self, file: str) -> str:
        """Return the path of a repository file on the site, as a source path of MkDocs."""
        if file.startswith("docs/"):
            return file.removeprefix("docs/")
        is_code = Path(file).suffix in LANGUAGES
        return f"{FOLDER}/{file}.md" if is_code else f"{FOLDER}/{file}"

    def linked(self, pages: list[str]) -> Iterator[str]:
        """Yield the files outside docs/ that these pages link to, and those that linked Markdown files link to."""
        waiting, seen = list(pages), set(pages)
        while waiting:
            page = waiting.pop()
            text = (self.root / page).read_text(encoding="utf-8")
            for link in (link for part in _prose(text) for link in LINK.findall(part)):
                file = self._file(page, link)
                if file is None or file in seen:
                    continue
                seen.add(file)
                if not file.startswith("docs/"):
                    yield file
                    if file.endswith(".md"):
                        waiting.append(file)

    def page(self, file: str) -> str | None:
        """Return the Markdown of a file's page; None for a file that is copied."""
        suffix = Path(file).suffix
        if suffix == ".md":
            return HIDDEN + (self.root / file).read_text(encoding="utf-8")
        if suffix not in LANGUAGES:
            return None
        text = (self.root / file).read_text(encoding="utf-8").rstrip("\n")
        return f"{HIDDEN}# {file}\n\n````{LANGUAGES[suffix]}\n{text}\n````\n"

    def with_site_links(self, text: str, file: str) -> str:
        """Return the Markdown of a repository file with its links changed to those of the site."""
        here = posixpath.dirname(self.site_path(file))

        def changed(match: re.Match[str]) -> str:
            target = self._file(file, match[1])
            if target is None:
                return match[1]
            anchor = match[1].partition("#")[2]
            return posixpath.relpath(self.site_path(target), here or ".") + (f"#{anchor}" if anchor else "")

        return _outside_code(text, lambda part: LINK.sub(changed, part))

    def _file(self, page: str, link: str) -> str | None:
        """Return the path of a linked file in the repository; None for a link to elsewhere or within the page."""
        path = link.partition("#")[0]
        if not path or "://" in link or link.startswith(("mailto:", "/")):
            return None
        file = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
        if page.startswith("docs/") and file.startswith("docs/") and not (self.root / file).exists():
            return None  # a page that is generated; MkDocs checks it
        if (self.root / file).is_dir():
            file = f"{file}/README.md"
        if file.startswith("..") or not (self.root / file).is_file():
            raise BrokenLink(f"{page} links to {link!r}, which is not a file of the repository")
        return file


def _prose(text: str) -> list[str]:
    return CODE.split(text)[::2]


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts = CODE.split(text)
    parts[::2] = [change(part) for part in parts[::2]]
    return "".join(parts)
