"""The command line; ``instructseg --help`` tells what it does."""

from instructseg.cli.app import app, main

__all__ = ["app", "main"]
