"""Files of the repository that are not code, in a checkout and in an installed package."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).resolve().parent

# Where the wheel contains them, with their paths in the repository: see `pyproject.toml`.
_INSTALLED: Final = _HERE / "_repository"
# The checkout that this module is in, or None if it is installed.
CHECKOUT: Final = None if _INSTALLED.is_dir() else _HERE.parents[1]


def packaged(path: str) -> Path:
    """A file or folder by its path in the repository, such as `functions/requirements.txt`."""
    return (CHECKOUT or _INSTALLED) / path
