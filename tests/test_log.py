from __future__ import annotations

import logging

import pytest
from rich.logging import RichHandler

from instructseg.log import ROOT, get_logger, setup_logging


@pytest.fixture
def root():
    """The package's logger, put back afterwards."""
    logger = logging.getLogger(ROOT)
    handlers, level = logger.handlers[:], logger.level
    logger.handlers = []
    yield logger
    logger.handlers = handlers
    logger.setLevel(level)


def test_loggers_stand_below_the_package():
    assert get_logger("instructseg.engine.trainer").name == "instructseg.engine.trainer"
    assert get_logger("instructseg").name == "instructseg"
    assert get_logger("instructsegment").name == "instructseg.instructsegment"
    assert get_logger("__main__").parent is logging.getLogger(ROOT)


def test_shows_messages_on_stderr(root, capsys):
    setup_logging("warning")
    get_logger("instructseg.data").info("quiet")
    get_logger("instructseg.data").warning("kept 3 of 5 samples")
    shown = capsys.readouterr()
    assert "kept 3 of 5 samples" in shown.err and "quiet" not in shown.err and not shown.out


def test_called_twice_it_only_changes_the_level(root):
    setup_logging("INFO")
    setup_logging(logging.DEBUG)
    assert root.level == logging.DEBUG
    assert sum(isinstance(handler, RichHandler) for handler in root.handlers) == 1


def test_says_which_levels_there_are(root):
    with pytest.raises(ValueError, match="no log level 'loud': use one of DEBUG, INFO"):
        setup_logging("loud")
