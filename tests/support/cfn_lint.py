"""cfn-lint over templates, as the command of that name."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

# The CDK writes out the dependency on a function's role that the role's ARN implies already.
_IGNORED: Final = "W3005"


def assert_has_no_findings(
    templates: Mapping[str, Any], directory: Path, *, regions: Iterable[str] = ()
) -> None:
    """One process checks all templates, which are given by name: it takes seconds to start."""
    files = []
    for name, template in templates.items():
        file = directory / f"{name}.json"
        file.write_text(json.dumps(template))
        files.append(str(file))
    result = subprocess.run(  # noqa: S603 - our own command
        [
            str(Path(sys.executable).with_name("cfn-lint")),
            f"--ignore-checks={_IGNORED}",
            *(("--regions", *regions) if regions else ()),
            "--",
            *files,
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
