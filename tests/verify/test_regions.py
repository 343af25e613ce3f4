"""cfn-lint over the variants, for Regions of several partitions."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.infra.test_checks import CFN_LINT_IGNORED
from tests.verify.conftest import VARIANTS

pytestmark = pytest.mark.xdist_group("template")

REGIONS = ("us-east-1", "eu-central-1", "ap-southeast-2", "cn-north-1", "us-gov-west-1")


def test_templates_are_valid_in_every_region(
    templates: Callable[[str], Mapping[str, Any]], tmp_path: Path
) -> None:
    """Types, properties and values exist in each Region, for every variant."""
    for variant in VARIANTS:
        (tmp_path / f"{variant}.json").write_text(json.dumps(templates(variant)))
    result = subprocess.run(  # noqa: S603 - our own command
        [
            str(Path(sys.executable).with_name("cfn-lint")),
            f"--ignore-checks={CFN_LINT_IGNORED}",
            *("--regions", *REGIONS, "--"),
            *(str(tmp_path / f"{variant}.json") for variant in VARIANTS),
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
