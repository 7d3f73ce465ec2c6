"""Run the command-line program `silk` with `python -m silkcodec.cli`."""

from silkcodec.cli import main

main()
