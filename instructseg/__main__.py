"""``python -m instructseg``: the same program as ``instructseg``."""

from instructseg.cli import main

main()
