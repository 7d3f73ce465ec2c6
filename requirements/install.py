"""Install packages with uv, which is several times faster than pip. If uv fails, install them with pip.

    python requirements/install.py ARGUMENTS    # the arguments of `pip install`

uv does not read pip's configuration, so the program passes on the indexes, constraints and certificates in it.
"""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

CONSTRAINTS = Path(__file__).parents[1] / "constraints.txt"
PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
UV = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", sys.executable]
PASSED_ON = ("index-url", "extra-index-url", "find-links", "constraint", "no-index", "cert", "trusted-host")
OTHER_NAMES = {"trusted-host": "allow-insecure-host"}


def uv_options(configuration: str) -> list[str]:
    """Return the options of uv that are equivalent to pip's configuration.

    Args:
        configuration: output of `pip config list`.

    >>> uv_options("global.extra-index-url='https://a https://b'\\nglobal.index-url='https://c'\\nglobal.timeout='9'")
    ['--extra-index-url', 'https://c', '--extra-index-url', 'https://a', '--extra-index-url', 'https://b']
    >>> uv_options(":env:.no-index='1'\\n:env:.find-links='wheels'")
    ['--find-links', 'wheels', '--no-index']
    """
    found: dict[str, str] = {}
    for section in ("global", "install", ":env:"):  # later sections have priority
        for line in configuration.splitlines():
            key, _, value = line.partition("=")
            if key.startswith(f"{section}."):
                found[key.removeprefix(f"{section}.")] = ast.literal_eval(value)
    if "extra-index-url" in found:
        # If several indexes have the same version, pip chooses the best wheel of all, and uv chooses the first index.
        # An extra index may have only a wheel without compiled code, so the main index comes first.
        main = found.pop("index-url", "https://pypi.org/simple")
        found["extra-index-url"] = f"{main} {found['extra-index-url']}"
    options = []
    for name in PASSED_ON:
        option = f"--{OTHER_NAMES.get(name, name)}"
        if name == "no-index":
            options += [option] * (found.get(name, "0").lower() in ("1", "true", "yes", "on"))
        else:
            options += [word for value in found.get(name, "").split() for word in (option, value)]
    return options


def install(arguments: list[str]) -> int:
    """Run `pip install` with these arguments, by uv if possible. Return the exit status."""
    # pip chooses the best version from all indexes. By default, uv uses the first index that has the package.
    listed = subprocess.run([*PIP, "config", "list"], capture_output=True, text=True, check=True).stdout
    options = ["--index-strategy", "unsafe-best-match", *uv_options(listed)]
    if importlib.util.find_spec("uv") is None:
        subprocess.run([*PIP, "install", "--quiet", "-c", str(CONSTRAINTS), "uv"])
    if subprocess.run([*UV, *options, *arguments]).returncode == 0:
        return 0
    print("uv failed, so pip installs the packages.", file=sys.stderr)
    return subprocess.run([*PIP, "install", "--quiet", *arguments]).returncode


if __name__ == "__main__":
    sys.exit(install(sys.argv[1:]))
