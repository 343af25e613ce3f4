"""Settings for all tests."""

from __future__ import annotations

import os

from hypothesis import Phase, settings

# A slow machine must not fail tests; in continuous integration the same cases run each time.
settings.register_profile("default", deadline=None)
settings.register_profile("ci", deadline=None, derandomize=True)
# For `make check`: a quarter of the examples.
settings.register_profile("quick", deadline=None, max_examples=25)
# For `make mutate`: each run of a mutant has the same cases, and a failure is not made smaller,
# because that takes longer than to find it.
settings.register_profile(
    "mutation", deadline=None, derandomize=True, phases=[Phase.explicit, Phase.generate]
)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
)
