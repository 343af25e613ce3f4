"""The Regions and partitions that AWS has, as the installed SDK knows them."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from functools import cache
from typing import Any

import botocore.loaders


@cache
def partitions_by_region() -> Mapping[str, str]:
    """The partition of each Region: `{"us-east-1": "aws", "cn-north-1": "aws-cn", ...}`."""
    data: dict[str, Any] = botocore.loaders.Loader().load_data("partitions")
    return {
        region: partition["id"]
        for partition in data["partitions"]
        for region in partition["regions"]
        # `aws-global` and the like are endpoints of global services, and not Regions.
        if not region.endswith("-global")
    }


def partition_of(region: str) -> str | None:
    """The partition of a Region; None if the SDK does not know the Region."""
    return partitions_by_region().get(region)


def unknown_region(region: str) -> str | None:
    """What to say about a Region that the SDK does not know; None if it knows the Region."""
    known = partitions_by_region()
    if region in known:
        return None
    close = difflib.get_close_matches(region, known, n=1)
    hint = f": did you mean {close[0]}?" if close else ":"
    return (
        f"{region} is not a Region that the installed AWS SDK knows{hint} "
        "For a newer Region, set allowUnknownRegions to true as well"
    )
