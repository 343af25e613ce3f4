"""Settings for all tests."""

from __future__ import annotations

import os
from typing import Final

from hypothesis import Phase, settings

from tests.support import quick_botocore

quick_botocore.use()
# The CDK's validation of a template takes longer to load than the template to make, in each process
# that a test starts, too. `tests/infra/test_checks.py` has it explicitly.
os.environ["CDK_VALIDATION"] = "false"

# A slow machine must not fail tests. `make explore` runs sixteen times as many examples.
_FEW: Final = settings(deadline=None, max_examples=25)
settings.register_profile("default", _FEW)
# In continuous integration the same cases run each time.
settings.register_profile("ci", _FEW, derandomize=True)
# For `make mutate`, too. A failure is not made smaller there: that takes longer than to find it.
settings.register_profile(
    "mutation", _FEW, derandomize=True, phases=[Phase.explicit, Phase.generate]
)
settings.register_profile("thorough", _FEW, max_examples=400)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
)
