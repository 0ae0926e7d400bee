"""Settings of every test, made before torch is imported.

The models of the tests are small: one thread runs them fastest, and threads that wait without sleeping slow
a shared machine down many times.
"""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("OMP_NUM_THREADS", "1")

from hypothesis import settings

settings.register_profile("shared machine", deadline=None)  # tests never assert times
settings.load_profile("shared machine")
