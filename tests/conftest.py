"""Settings of every test, made before torch is imported.

The models of the tests are small: one thread runs them fastest, and threads that wait without sleeping slow
a shared machine down many times. Modules are compiled once, whatever the environment says: not in each worker
and in each of the processes that tests start.
"""

import gc
import os
import sys

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import settings

sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
settings.register_profile("shared machine", deadline=None)  # tests never assert times
settings.load_profile("shared machine")

MOST_WORKERS = 8
"""Each holds torch and the bundled model: about 1 GB."""


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Runs the whole suite on all cores; tests that are named run in this process, where a debugger works.

    Not in ``addopts``, which would start the workers for a single test too, and would need pytest-xdist.
    """
    option = config.option
    whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    asked = getattr(option, "numprocesses", None) is not None or getattr(option, "usepdb", False)
    if whole and not asked and not hasattr(config, "workerinput") and config.pluginmanager.hasplugin("xdist"):
        option.numprocesses, option.maxprocesses, option.dist = "auto", MOST_WORKERS, "worksteal"


def pytest_collection_finish() -> None:
    """What was imported stays: each full search for garbage took a third of a second to pass over it."""
    gc.collect()
    gc.freeze()
