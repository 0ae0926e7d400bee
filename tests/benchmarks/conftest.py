"""The bundled model is replaced by one with random weights."""

from tests.cli.conftest import bundled, checkpoint, nano

__all__ = ["bundled", "checkpoint", "nano"]
