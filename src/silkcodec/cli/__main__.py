"""Run the `silk` command-line program with `python -m silkcodec.cli`."""

from silkcodec.cli import main

main()
