"""`python -m silkcodec.cli` is `silk`."""

from silkcodec.cli import main

main()
