"""What `mutation.toml` and `accepted.toml` say, and where the mutated code is."""

from __future__ import annotations

import ast
import hashlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final

from tests.mutation.operators import Facts, Mutant, facts_of, mutants

ROOT: Final = Path(__file__).resolve().parents[2]
SETTINGS: Final = Path(__file__).with_name("mutation.toml")
ACCEPTED: Final = Path(__file__).with_name("accepted.toml")
FIXED, CHANGED, SAMPLE = "fixed set", "changed lines", "sample"
PARTS: Final = (FIXED, CHANGED, SAMPLE)


class SettingsError(ValueError):
    """A file of settings that cannot be used, with what to correct."""


@dataclass(frozen=True)
class Ring:
    """A package and the tests that are to notice its mutants."""

    name: str
    source: str
    """The folder of the package, from the root of the repository."""
    tests: tuple[str, ...]
    sampled: bool
    exclude: tuple[str, ...]
    """Files, folders and node ids of tests that are not used."""
    preload: tuple[str, ...]
    """Modules that a server imports once; never one that imports the mutated package."""
    lifetime: int
    """After how many mutants a server is replaced; 0 for never."""

    def is_excluded(self, nodeid: str) -> bool:
        """Whether a test is not used."""
        return any(
            nodeid == name or nodeid.startswith((f"{name}/", f"{name}::", f"{name}["))
            for name in self.exclude
        )


@dataclass(frozen=True)
class Accepted:
    """A survivor that is all right, and why."""

    name: str
    mutation: str
    reason: str

    @property
    def key(self) -> tuple[str, str]:
        """As `Mutant.key`."""
        return self.name, self.mutation


@dataclass(frozen=True)
class Settings:
    """The rings, and the functions whose every mutant is in the fixed set, by subject."""

    rings: tuple[Ring, ...]
    fixed: Mapping[str, tuple[str, ...]]

    @property
    def fixed_names(self) -> frozenset[str]:
        """All functions and classes of the fixed set."""
        return frozenset(name for names in self.fixed.values() for name in names)


@dataclass(frozen=True)
class Code:
    """The source files of some rings, read once."""

    root: Path
    sources: Mapping[str, str]
    """Source by path, from the root."""
    folders: tuple[str, ...]
    facts: Facts
    """What the operators know of all this code: found out once, before any process is forked."""

    @classmethod
    def read(cls, root: Path, rings: Iterable[Ring]) -> Code:
        """The source of every ring, as it is now."""
        folders = tuple(ring.source for ring in rings)
        paths = sorted(
            path.relative_to(root).as_posix()
            for folder in folders
            for path in (root / folder).rglob("*.py")
        )
        sources = {path: (root / path).read_text() for path in paths}
        return cls(root, sources, folders, facts_of(map(ast.parse, sources.values())))

    @cached_property
    def digest(self) -> str:
        """Changes with any of the sources."""
        text = "\0".join(f"{path}\0{source}" for path, source in self.sources.items())
        return hashlib.sha256(text.encode()).hexdigest()

    def module_of(self, path: str) -> str:
        """The module's name: a package is imported from the folder that its own folder is in."""
        folder = next(folder for folder in self.folders if path.startswith(f"{folder}/"))
        parts = Path(path).relative_to(Path(folder).parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def mutants(self, ring: Ring) -> list[Mutant]:
        """Every mutant of a ring's package."""
        return [
            mutant
            for path, source in self.sources.items()
            if path.startswith(f"{ring.source}/")
            for mutant in mutants(path, self.module_of(path), source, self.facts)
        ]


def read_settings(path: Path = SETTINGS) -> Settings:
    """The settings; raises `SettingsError`."""
    document = _toml(path)
    rings = []
    for ring in document.get("ring", ()):
        try:
            rings.append(
                Ring(
                    name=ring["name"],
                    source=ring["source"],
                    tests=tuple(ring["tests"]),
                    sampled=ring["sampled"],
                    exclude=tuple(ring.get("exclude", ())),
                    preload=tuple(ring.get("preload", ())),
                    lifetime=ring.get("lifetime", 0),
                )
            )
        except KeyError as error:
            message = f"{path.name}: a [[ring]] has no {error}: add it"
            raise SettingsError(message) from None
    fixed = {subject: tuple(names) for subject, names in document.get("fixed", {}).items()}
    return Settings(tuple(rings), fixed)


def read_accepted(path: Path = ACCEPTED) -> tuple[Accepted, ...]:
    """The accepted survivors; raises `SettingsError` for one without a reason, or named twice."""
    found: dict[tuple[str, str], Accepted] = {}
    for number, entry in enumerate(_toml(path).get("accepted", ()), start=1):
        missing = [
            name
            for name in ("name", "mutation", "reason")
            if not isinstance(entry.get(name), str) or not entry[name].strip()
        ]
        if missing:
            message = f"{path.name}: entry {number} has no {', '.join(missing)}: add it"
            raise SettingsError(message)
        accepted = Accepted(entry["name"], entry["mutation"], entry["reason"])
        if accepted.key in found:
            message = f"{path.name}: {accepted.name}: {accepted.mutation} is there twice"
            raise SettingsError(message)
        found[accepted.key] = accepted
    return tuple(found.values())


def unresolved(code: Code, names: Iterable[str]) -> list[str]:
    """Those of the `module:qualified.name` that name no function and no class of the code."""
    known = {
        f"{code.module_of(path)}:{name}"
        for path, source in code.sources.items()
        for name in _definitions(ast.parse(source).body)
    }
    return sorted(set(names) - known)


def _definitions(body: Sequence[ast.stmt], prefix: str = "") -> Iterable[str]:
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield prefix + node.name
            yield from _definitions(node.body, f"{prefix}{node.name}.")


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text())
    except tomllib.TOMLDecodeError as error:
        message = f"{path.name} is not valid TOML: {error}"
        raise SettingsError(message) from None
