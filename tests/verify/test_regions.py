"""cfn-lint over the variants, for Regions of several partitions."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bedrock_batch_monitor_cdk.config import MonitorConfig
from tests.infra.test_checks import CONFIGS
from tests.support.cfn_lint import assert_has_no_findings
from tests.verify.conftest import STACKS, VARIANTS

pytestmark = pytest.mark.xdist_group("template")

REGIONS = ("us-east-1", "eu-central-1", "ap-southeast-2", "cn-north-1", "us-gov-west-1")


def test_templates_are_valid_in_every_region(
    templates: Callable[[str], Mapping[str, Any]],
    synthesize: Callable[[MonitorConfig], Mapping[str, Any]],
    tmp_path: Path,
) -> None:
    """Types, properties and values exist in each Region, for every variant."""
    others = [config for config in CONFIGS if config not in STACKS.values()]
    checked = {variant: templates(variant) for variant in VARIANTS} | {
        f"configuration {number}": synthesize(config) for number, config in enumerate(others)
    }
    assert_has_no_findings(checked, tmp_path, regions=REGIONS)
