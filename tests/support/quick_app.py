"""An app of the CDK for tests that look at a template, which is quick to make."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import aws_cdk


def quick_app(outdir: Path, context: Mapping[str, Any] | None = None) -> aws_cdk.App:
    """An app that bundles no code and has no flags but those in `context`.

    `tests/conftest.py` turns the validation by the CDK off.
    """
    return aws_cdk.App(
        context={**(context or {}), "aws:cdk:bundling-stacks": []},
        outdir=str(outdir),
    )
