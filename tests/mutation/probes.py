"""Records which statements run: a call in front of each, put in while a module is loaded.

Coverage's contexts record nothing under pytest-xdist, and tracing slows every library down. A probe
costs a call of `set.add`, in the mutated packages alone.
"""

from __future__ import annotations

import ast
import builtins
import functools
import gc
import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, Final

_PROBE: Final = "__mutation_probe__"
_PER_FILE: Final = 1_000_000


class Probes:
    """The statements that ran since `hits` was cleared, as numbers that `place` explains."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.hits: set[int] = set()
        self._paths = tuple(paths)
        setattr(builtins, _PROBE, self.hits.add)

    def number(self, path: str, line: int) -> int:
        """The number of a statement."""
        return self._paths.index(path) * _PER_FILE + line

    def place(self, number: int) -> tuple[str, int]:
        """Path and line of a statement."""
        return self._paths[number // _PER_FILE], number % _PER_FILE

    def instrumented(self, path: str, tree: ast.Module) -> ast.Module:
        """The tree with a probe in front of every statement of every function."""
        first = self.number(path, 0)
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                _instrument(node, first)
        return ast.fix_missing_locations(tree)


def _instrument(function: ast.FunctionDef | ast.AsyncFunctionDef, first: int) -> None:
    for block in _blocks(function):
        probed: list[ast.stmt] = []
        for statement in block:
            is_docstring = isinstance(statement, ast.Expr) and isinstance(
                statement.value, ast.Constant
            )
            if not is_docstring:
                call = ast.Call(
                    ast.Name(_PROBE, ast.Load()), [ast.Constant(first + statement.lineno)], []
                )
                probed.append(ast.copy_location(ast.Expr(call), statement))
            probed.append(statement)
        block[:] = probed


def _blocks(node: ast.AST) -> list[list[ast.stmt]]:
    """The blocks of a function, without those of functions and classes in it."""
    found: list[list[ast.stmt]] = []
    for name in ("body", "orelse", "finalbody"):
        block = getattr(node, name, None)
        if isinstance(block, list) and block:
            found.append(block)
            for statement in list(block):
                if not isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    found += _blocks(statement)
    for part in (*getattr(node, "handlers", ()), *getattr(node, "cases", ())):
        found += _blocks(part)
    return found


class Loading(MetaPathFinder):
    """Loads some source files from trees of their own; on disk nothing changes."""

    def __init__(self, trees: Mapping[Path, Callable[[], ast.Module]]) -> None:
        self._trees = trees

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec of a module that is to be changed."""
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.origin is None:
            return None
        tree = self._trees.get(Path(spec.origin))
        if tree is None:
            return None
        spec.loader = _Changed(fullname, spec.origin, tree)
        return spec


class _Changed(SourceFileLoader):
    def __init__(self, fullname: str, path: str, tree: Callable[[], ast.Module]) -> None:
        super().__init__(fullname, path)
        self._tree = tree

    def get_code(self, fullname: str) -> CodeType:  # noqa: ARG002 - importlib's signature
        """The code of the changed tree, which no cache of bytecode may hold."""
        code: CodeType = compile(self._tree(), self.path, "exec", dont_inherit=True)
        return code


def load_with(trees: Mapping[Path, Callable[[], ast.Module]]) -> None:
    """Have these files loaded from these trees from now on."""
    sys.meta_path.insert(0, Loading(trees))


def caches_of(packages: tuple[str, ...]) -> list[functools._lru_cache_wrapper[Any]]:
    """Every `functools.cache` of these packages that has been made by now."""
    # The handlers freeze what is there once they are imported, and the collector hides it then.
    gc.unfreeze()
    return [
        found
        for found in gc.get_objects()
        if type(found) is functools._lru_cache_wrapper and found.__module__.startswith(packages)
    ]


def statements_using(trees: Mapping[str, ast.Module]) -> dict[str, frozenset[tuple[str, int]]]:
    """The statements in functions that use a name or an attribute, by that name."""
    found: dict[str, set[tuple[str, int]]] = {}
    for path, tree in trees.items():
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for block in _blocks(function):
                for statement in block:
                    for name in _names(statement):
                        found.setdefault(name, set()).add((path, statement.lineno))
    return {name: frozenset(places) for name, places in found.items()}


def names_made_with(trees: Iterable[ast.Module]) -> dict[str, frozenset[str]]:
    """The names that a module or a class defines with a name or an attribute, by that name."""
    found: dict[str, set[str]] = {}
    for tree in trees:
        owners = (tree, *(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)))
        for statement in (statement for owner in owners for statement in owner.body):
            if not isinstance(statement, ast.Assign | ast.AnnAssign) or statement.value is None:
                continue
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            made = {name for target in targets for name in _names(target)}
            for name in _names(statement.value):
                found.setdefault(name, set()).update(made)
    return {name: frozenset(made) for name, made in found.items()}


def mentions_of(trees: Mapping[str, ast.Module], tests: Iterable[str]) -> dict[str, frozenset[str]]:
    """The tests whose own function has a name or an attribute, by that name.

    What a file has outside of its tests counts for each of its tests.
    """
    functions: dict[tuple[str, str], set[str]] = {}
    shared: dict[str, set[str]] = {}
    for path, tree in trees.items():
        classes = (node for node in tree.body if isinstance(node, ast.ClassDef))
        for statement in (*tree.body, *(part for node in classes for part in node.body)):
            if isinstance(statement, ast.FunctionDef) and statement.name.startswith("test_"):
                functions[path, statement.name] = set(_names(statement))
            elif not isinstance(statement, ast.ClassDef | ast.Import | ast.ImportFrom):
                shared.setdefault(path, set()).update(_names(statement))
    found: dict[str, set[str]] = {}
    for test in tests:
        path, _, rest = test.partition("::")
        function = rest.partition("[")[0].rpartition("::")[2]
        for name in (*functions.get((path, function), ()), *shared.get(path, ())):
            found.setdefault(name, set()).add(test)
    return {name: frozenset(named) for name, named in found.items()}


def _names(node: ast.AST) -> Iterable[str]:
    for part in ast.walk(node):
        if isinstance(part, ast.Name):
            yield part.id
        elif isinstance(part, ast.Attribute):
            yield part.attr
