"""Run `silk` as `python -m silkcodec.cli`."""

from silkcodec.cli import main

main()
