"""Files of a job in S3: what a listing says about them, and which result belongs to which input."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bedrock_batch_monitor.domain.locations import S3Uri
from bedrock_batch_monitor.domain.token_usage import MANIFEST_NAME

_RESULT: Final = ".out"
_INPUT: Final = ".jsonl"


@dataclass(frozen=True, slots=True)
class StoredFile:
    """An object in S3; `size` in bytes."""

    bucket: str
    key: str
    size: int
    etag: str = ""

    @property
    def name(self) -> str:
        """The name without folders."""
        return self.key.rpartition("/")[2]

    def __str__(self) -> str:
        """`s3://bucket/key`."""
        return str(S3Uri(self.bucket, self.key))


@dataclass(frozen=True, slots=True)
class FilePair:
    """A file of the input and the file with its results; one of them can be unknown."""

    input: StoredFile | None
    results: StoredFile | None


@dataclass(frozen=True, slots=True)
class JobFiles:
    """The files of a job in the order of their keys.

    `ignored` counts files between the results that are not results. Without `has_inputs`, it is not
    known which records the job had.
    """

    pairs: tuple[FilePair, ...]
    has_inputs: bool
    ignored: int = 0

    @property
    def size(self) -> int:
        """Bytes of all files."""
        files = (file for pair in self.pairs for file in (pair.input, pair.results))
        return sum(file.size for file in files if file is not None)

    @property
    def without_results(self) -> int:
        """Files of the input without results."""
        return sum(pair.results is None for pair in self.pairs)


def inputs_among(files: Iterable[StoredFile], place: S3Uri) -> tuple[StoredFile, ...]:
    """The input files at a place: the object with this key, or the JSON Lines files in a folder."""
    found = sorted(files, key=lambda file: file.key)
    exact = tuple(file for file in found if file.key == place.key)
    if exact:
        return exact
    folder = place.folder.key
    return tuple(
        file for file in found if file.key.startswith(folder) and file.key.lower().endswith(_INPUT)
    )


def job_files(
    results: Iterable[StoredFile],
    inputs: Sequence[StoredFile] | None,
    results_folder: S3Uri,
    input_place: S3Uri | None = None,
) -> JobFiles:
    """Pair each input with its results, which have its name and `.out`.

    A name that several folders of the input have is looked for with its folder. Other files in the
    folder of the results are ignored. Without the inputs, every file that ends in `.out` counts.
    """
    found = {file.key.removeprefix(results_folder.key): file for file in results}
    found.pop(MANIFEST_NAME, None)
    if inputs is None:
        pairs = tuple(
            FilePair(None, file) for name, file in sorted(found.items()) if name.endswith(_RESULT)
        )
        return JobFiles(pairs, has_inputs=False, ignored=len(found) - len(pairs))
    names = [file.name for file in inputs]
    folder = "" if input_place is None else input_place.folder.key
    pairs = tuple(
        FilePair(
            file,
            found.get(file.key.removeprefix(folder) + _RESULT)
            or (found.get(file.name + _RESULT) if names.count(file.name) == 1 else None),
        )
        for file in inputs
    )
    matched = sum(pair.results is not None for pair in pairs)
    return JobFiles(pairs, has_inputs=True, ignored=len(found) - matched)
