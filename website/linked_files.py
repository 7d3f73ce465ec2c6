"""Publish the repository files that the documentation links to, so that the links work on the site.

A page in docs/ can link to any file in the repository, for example `../src/silkcodec/silk/model.py`. On the site, the
link leads to a page under `files/`. Markdown files become pages, source code becomes a page with syntax highlighting,
and other files are copied.
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
CODE = re.compile(r"(^```.*?^```|`[^`\n]+`)", re.MULTILINE | re.DOTALL)  # Links in code do not change.
HIDDEN = "---\nhide: [navigation, toc]\nsearch:\n  exclude: true\n---\n\n"
FOLDER = "files"


class BrokenLink(Exception):
    """Raised for a link to a file that does not exist in the repository."""


class Repository:
    """Find the files that the documentation links to.

    Args:
        root: folder of the repository.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def site_path(self, file: str) -> str:
        """Return the path of a repository file on the site."""
        if file.startswith("docs/"):
            return file.removeprefix("docs/")
        is_code = Path(file).suffix in LANGUAGES
        return f"{FOLDER}/{file}.md" if is_code else f"{FOLDER}/{file}"

    def linked(self, pages: list[str]) -> Iterator[str]:
        """Yield the files outside docs/ that the pages link to, directly or through other Markdown files."""
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
        """Return the Markdown of the page for a file, or None if the file is copied without a page."""
        suffix = Path(file).suffix
        if suffix == ".md":
            return HIDDEN + (self.root / file).read_text(encoding="utf-8")
        if suffix not in LANGUAGES:
            return None
        text = (self.root / file).read_text(encoding="utf-8").rstrip("\n")
        return f"{HIDDEN}# {file}\n\n````{LANGUAGES[suffix]}\n{text}\n````\n"

    def with_site_links(self, text: str, file: str) -> str:
        """Return the Markdown of a repository file with links that work on the site."""
        here = posixpath.dirname(self.site_path(file))

        def changed(match: re.Match[str]) -> str:
            target = self._file(file, match[1])
            if target is None:
                return match[1]
            anchor = match[1].partition("#")[2]
            return posixpath.relpath(self.site_path(target), here or ".") + (f"#{anchor}" if anchor else "")

        return _outside_code(text, lambda part: LINK.sub(changed, part))

    def _file(self, page: str, link: str) -> str | None:
        """Return the path of the repository file that a link points to, or None for other links."""
        path = link.partition("#")[0]
        if not path or "://" in link or link.startswith(("mailto:", "/")):
            return None
        file = posixpath.normpath(posixpath.join(posixpath.dirname(page), path))
        if page.startswith("docs/") and file.startswith("docs/") and not (self.root / file).exists():
            return None  # MkDocs checks links to generated pages.
        if (self.root / file).is_dir():
            file = f"{file}/README.md"
        if file.startswith("..") or not (self.root / file).is_file():
            raise BrokenLink(f"'{page}' links to '{link}', which does not exist in the repository.")
        return file


def _prose(text: str) -> list[str]:
    return CODE.split(text)[::2]


def _outside_code(text: str, change: Callable[[str], str]) -> str:
    parts = CODE.split(text)
    parts[::2] = [change(part) for part in parts[::2]]
    return "".join(parts)
