"""Run `silk` if it is started as `python -m silkcodec.cli`."""

from silkcodec.cli import main

main()
