"""Run the `silk` command line when started as `python -m silkcodec.cli`."""

from silkcodec.cli import main

main()
