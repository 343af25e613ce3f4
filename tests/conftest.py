"""Settings for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

# A slow machine must not fail tests; in continuous integration the same cases run each time.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
# For `make check`: a quarter of the examples.
settings.register_profile("quick", deadline=None, max_examples=25)
settings.load_profile("ci" if os.environ.get("CI") else "default")
