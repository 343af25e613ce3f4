"""The mutants of a module: small changes of its code that a test should notice.

A mutant is found by its position in `sites`, which is the same for the same source: a worker finds
it again in a tree of its own, and no file is ever written.
"""

from __future__ import annotations

import ast
import copy
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Final, TypeVar

DROP_ALWAYS: Final = frozenset(
    {"ConditionExpression", "ConsistentRead", "ReturnValuesOnConditionCheckFailure"}
)
"""Arguments of DynamoDB that may be left out of every call."""

# Options whose value no test of this project can see.
_UNSEEN_OPTIONS: Final = frozenset({"strict", "slots", "ensure_ascii", "encoding"})
_UNMUTATED_CALLS: Final = frozenset({"cast", "TypeVar", "NewType", "assert_never"})
_FUNCTIONS: Final = (ast.FunctionDef, ast.AsyncFunctionDef)
_COMPARISONS: Final[Mapping[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
_ORDER: Final = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
_ARITHMETIC: Final[Mapping[type[ast.operator], type[ast.operator]]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
    ast.BitOr: ast.BitAnd,
    ast.BitAnd: ast.BitOr,
}
_SWAPPED_CALLS: Final = {"max": "min", "min": "max", "any": "all", "all": "any"}
_EXISTENCE: Final = re.compile(r"attribute_(not_)?exists")
_CONDITION: Final = re.compile(
    r"(attribute_exists|attribute_not_exists|contains|begins_with|size)\("
    r"| AND | OR "
    r"|^\S+ (=|<>|<|<=|>|>=) \S+$"
)
_NO_CONDITION: Final = re.compile(r"^\s*(SET|REMOVE|ADD|DELETE) |BETWEEN")
_Node = TypeVar("_Node", bound=ast.AST)
_LIMIT: Final = re.compile(" (<=|<|>=|>) ")
# Stands for a value in the text of an f-string.
_VALUE: Final = re.compile("\0([0-9]+)\0")


@dataclass(frozen=True)
class Facts:
    """What the operators know of the mutated packages: by simple name, so best effort."""

    enums: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Members of each enumeration."""
    optional: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """Parameters of each function and fields of each dataclass that have a default."""


@dataclass(frozen=True)
class Mutant:
    """One change. `mutation` and `name` identify it however the lines move."""

    path: str
    module: str
    qualname: str
    operator: str
    number: int
    """Its place in `sites` of the same source."""
    line: int
    """Where the change is."""
    last_line: int
    statement: int
    """First line of the statement that is changed: that is what a test has to run."""
    mutation: str
    """What is changed: `before -> after`, with ` #2` where the same function has it twice."""
    difference: tuple[str, str]
    """The statement before and after, each in one line."""
    at_definition: bool
    """Whether the changed code runs while the module is imported."""
    uses: frozenset[str] = frozenset()
    """Of a change at definition: names by which the changed value is used."""

    @property
    def name(self) -> str:
        """The qualified name that a list of accepted mutants uses."""
        return f"{self.module}:{self.qualname}"

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the mutant in a list of accepted ones."""
        return self.name, self.mutation


@dataclass
class Site:
    """A place in a tree, and what to put there."""

    operator: str
    node: ast.AST
    changes: tuple[tuple[ast.AST, str, int | None, Any], ...]
    """Owner, field, index and new value of each change."""
    shown: Callable[[], str]
    """The changed code as text."""
    context: _Context
    after: str | None = None
    """The text afterwards, where the changed code is no more."""
    _old: list[Any] = field(default_factory=list)

    def apply(self) -> None:
        """Change the tree; `revert` undoes it."""
        self._old = [_get(owner, name, index) for owner, name, index, _ in self.changes]
        for owner, name, index, new in self.changes:
            _put(owner, name, index, new)

    def revert(self) -> None:
        """Put back what was there."""
        for (owner, name, index, _), old in zip(self.changes, self._old, strict=True):
            _put(owner, name, index, old)


@dataclass(frozen=True)
class _Context:
    """Where the walk is."""

    qualname: tuple[str, ...] = ()
    statement: ast.stmt | None = None
    function: ast.FunctionDef | ast.AsyncFunctionDef | None = None
    """The function whose body this is; None while the module is imported."""
    uses: frozenset[str] = frozenset()
    bound: frozenset[str] = frozenset()
    """Names that have a value already, so that an assignment can be left out."""
    in_call: str = ""
    nested: bool = False
    """Whether the statement is under another one: a branch, a loop, a handler."""


def facts_of(trees: Iterable[ast.Module]) -> Facts:
    """Enumerations and defaults of all these modules."""
    enums: dict[str, tuple[str, ...]] = {}
    optional: dict[str, set[str]] = {"replace": set()}
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, _FUNCTIONS):
                optional.setdefault(node.name, set()).update(_with_default(node.args))
            elif isinstance(node, ast.ClassDef):
                fields = [
                    item for item in node.body if isinstance(item, ast.AnnAssign) and item.value
                ]
                named = {item.target.id for item in fields if isinstance(item.target, ast.Name)}
                optional.setdefault(node.name, set()).update(named)
                if any("Enum" in ast.unparse(base) for base in node.bases):
                    enums[node.name] = tuple(_members(node))
    return Facts(enums, {name: frozenset(found) for name, found in optional.items()})


def mutants(path: str, module: str, source: str, facts: Facts) -> Iterator[Mutant]:
    """All mutants of a source file, in the order of the code."""
    seen: Counter[tuple[str, str]] = Counter()
    for number, site in enumerate(sites(ast.parse(source), facts)):
        context, node = site.context, site.node
        statement = context.statement
        if statement is None:
            message = f"{path}:{_line(node)}: a change outside of every statement"
            raise AssertionError(message)
        before, statement_before = site.shown(), _header(statement)
        site.apply()
        after = site.shown() if site.after is None else site.after
        statement_after = "pass" if site.operator == "statement" else _header(statement)
        site.revert()
        qualname = ".".join(context.qualname) or "<module>"
        mutation = f"{before} -> {after}"
        seen[qualname, mutation] += 1
        if (times := seen[qualname, mutation]) > 1:
            mutation += f" #{times}"
        yield Mutant(
            path=path,
            module=module,
            qualname=qualname,
            operator=site.operator,
            number=number,
            line=_line(node),
            last_line=_header_end(node),
            statement=_touched_line(context),
            mutation=mutation,
            difference=(statement_before, statement_after),
            at_definition=context.function is None,
            uses=context.uses,
        )


def mutated(source: str, facts: Facts, number: int) -> ast.Module:
    """The tree of a source with one of its mutants."""
    tree = ast.parse(source)
    for place, site in enumerate(sites(tree, facts)):
        if place == number:
            site.apply()
            return ast.fix_missing_locations(tree)
    message = f"the source has no mutant {number}: it changed while the check was running"
    raise LookupError(message)


def sites(tree: ast.Module, facts: Facts) -> Iterator[Site]:
    """Every place to change and how, in the order of the code."""
    return _Walk(facts).body(tree, "body", _Context())


class _Walk:
    """Visits what can be mutated; each visit yields the changes of one node, then its parts."""

    def __init__(self, facts: Facts) -> None:
        self._facts = facts

    # Statements

    def body(self, owner: ast.AST, name: str, context: _Context) -> Iterator[Site]:
        """The statements of a block."""
        statements: list[ast.stmt] = getattr(owner, name)
        for index, statement in enumerate(statements):
            if not _is_text(statement):
                here = replace(context, statement=statement)
                yield from self.statement(statement, owner, name, index, here)
            context = replace(context, bound=context.bound | _targets(statement))

    def statement(  # noqa: C901, PLR0912 - one case for each kind of statement
        self, node: ast.stmt, owner: ast.AST, name: str, index: int, context: _Context
    ) -> Iterator[Site]:
        """One statement: left out, and its parts changed."""
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                yield from self.function(node, context)
            case ast.ClassDef():
                inner = replace(context, qualname=(*context.qualname, node.name))
                yield from self.body(node, "body", inner)
            case ast.If() if _is_guard(node.test):
                return
            case ast.If() | ast.While():
                yield from self.test(node, "test", context)
                yield from self.blocks(node, ("body", "orelse"), context)
            case ast.For() | ast.AsyncFor():
                yield from self.expression(node, "iter", None, context)
                yield from self.blocks(node, ("body", "orelse"), context)
            case ast.With() | ast.AsyncWith():
                for item in node.items:
                    yield from self.expression(item, "context_expr", None, context)
                yield from self.blocks(node, ("body",), replace(context, nested=context.nested))
            case ast.Try() | ast.TryStar():
                yield from self.blocks(node, ("body",), context)
                for handler in node.handlers:
                    yield from self.blocks(handler, ("body",), context)
                yield from self.blocks(node, ("orelse", "finalbody"), context)
            case ast.Match():
                yield from self.expression(node, "subject", None, context)
                for case in node.cases:
                    if case.guard is not None:
                        yield from self.test(case, "guard", context)
                    yield from self.blocks(case, ("body",), context)
            case _:
                yield from self.simple(node, owner, name, index, context)

    def function(
        self, node: ast.FunctionDef | ast.AsyncFunctionDef, context: _Context
    ) -> Iterator[Site]:
        """A function's defaults, which belong to its definition, and its body."""
        inner = replace(context, qualname=(*context.qualname, node.name))
        for name in ("defaults", "kw_defaults"):
            for index, default in enumerate(getattr(node.args, name)):
                if default is not None:
                    shown = partial(_shown_default, node.args, name, index)
                    # A function inside of another one is defined when that runs.
                    yield from self.expression(node.args, name, index, inner, shown)
        outermost = inner.function or node
        bound = frozenset(
            argument.arg
            for argument in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        )
        yield from self.body(
            node, "body", replace(inner, function=outermost, bound=bound, nested=False)
        )

    def blocks(self, node: ast.AST, names: Iterable[str], context: _Context) -> Iterator[Site]:
        """The blocks under a statement."""
        for name in names:
            yield from self.body(node, name, replace(context, nested=True))

    def simple(
        self, node: ast.stmt, owner: ast.AST, name: str, index: int, context: _Context
    ) -> Iterator[Site]:
        """A statement without blocks."""
        if context.function is None and isinstance(node, ast.Assign | ast.AnnAssign):
            context = replace(context, uses=_targets(node) | _as_field(context))
        if _can_be_left_out(node, context):
            changes = ((owner, name, index, _at(node, ast.Pass())),)
            yield Site("statement", node, changes, partial(_header, node), context, "pass")
        match node:
            case ast.Return(value=ast.expr()):
                yield from self.returned(node, context)
            case ast.AugAssign():
                yield from self.operator_of(node, context, partial(_header, node))
                yield from self.expression(node, "value", None, context)
            case ast.Assign() | ast.AnnAssign(value=ast.expr()):
                if not _is_type_alias(node, context):
                    yield from self.expression(node, "value", None, context)
            case ast.Expr():
                yield from self.expression(node, "value", None, context)
            case ast.Assert():
                yield from self.test(node, "test", context)
            case ast.Raise(exc=ast.expr()):
                yield from self.expression(node, "exc", None, context)
            case _:
                return

    def returned(self, node: ast.Return, context: _Context) -> Iterator[Site]:
        """What a function answers."""
        function = context.function
        value = node.value
        if function is None or value is None:
            return
        answer = "" if function.returns is None else ast.unparse(function.returns)
        shown = partial(_header, node)
        is_none = isinstance(value, ast.Constant) and value.value is None
        if not is_none and ("| None" in answer or "Optional" in answer):
            new = _at(value, ast.Constant(None))
            yield Site("return None", value, ((node, "value", None, new),), shown, context)
        if answer == "bool" and not _is_negated_elsewhere(value) and not _is_constant(value):
            changes = ((node, "value", None, _negated(value)),)
            yield Site("negation", value, changes, shown, context)
        yield from self.expression(node, "value", None, context)

    # Expressions

    def test(self, owner: ast.AST, name: str, context: _Context) -> Iterator[Site]:
        """A condition of the code: negated, and its parts changed."""
        node: ast.expr = getattr(owner, name)
        if not _is_negated_elsewhere(node):
            shown = partial(_shown, owner, name, None)
            changes = ((owner, name, None, _negated(node)),)
            yield Site("negation", node, changes, shown, context)
        yield from self.expression(owner, name, None, context)

    def expression(  # noqa: C901, PLR0912 - one case for each kind of expression
        self,
        owner: ast.AST,
        name: str,
        index: int | None,
        context: _Context,
        within: Callable[[], str] | None = None,
    ) -> Iterator[Site]:
        """One expression: itself changed, then its parts; `within` shows what it is part of."""
        node = getattr(owner, name) if index is None else getattr(owner, name)[index]
        shown = partial(_shown, owner, name, index)
        outside = within or (partial(_header, owner) if isinstance(owner, ast.stmt) else shown)

        def put(operator: str, new: ast.expr, text: Callable[[], str]) -> Site:
            return Site(operator, node, ((owner, name, index, new),), text, context)

        match node:
            case ast.Constant() | ast.JoinedStr():
                for operator, new in self.constants(node, owner, context):
                    text = shown if isinstance(new, ast.JoinedStr) or _is_str(node) else outside
                    yield put(operator, new, text)
                return
            case ast.Compare():
                yield from self.compared(node, context, shown)
            case ast.BoolOp():
                other = ast.Or() if isinstance(node.op, ast.And) else ast.And()
                new = _at(node, ast.BoolOp(other, node.values))
                yield put("and/or", new, shown)
            case ast.UnaryOp(op=ast.Not()):
                yield put("negation", node.operand, shown)
            case ast.UnaryOp(op=ast.USub()) if not _is_constant(node.operand):
                yield put("arithmetic", node.operand, shown)
            case ast.BinOp():
                if not _is_type_union(node):
                    yield from self.operator_of(node, context, shown)
            case ast.IfExp():
                yield from self.test(node, "test", context)
            case ast.Attribute(value=ast.Name(id=kind)) if kind in self._facts.enums:
                if (other_member := self._other_member(kind, node.attr)) is not None:
                    new = _at(node, ast.Attribute(node.value, other_member, ast.Load()))
                    yield put("enum member", new, outside)
                return
            case ast.Call():
                yield from self.call(node, context, shown)
                return
            case ast.Dict():
                yield from self.dictionary(node, context)
                return
        yield from self.parts(node, context, shown)

    def parts(self, node: ast.AST, context: _Context, shown: Callable[[], str]) -> Iterator[Site]:
        """The expressions in an expression."""
        for name, value in ast.iter_fields(node):
            if isinstance(node, ast.IfExp) and name == "test":
                continue
            if isinstance(value, ast.expr):
                yield from self.expression(node, name, None, context, shown)
            elif isinstance(value, list):
                for index, part in enumerate(value):
                    if isinstance(part, ast.comprehension):
                        yield from self.expression(part, "iter", None, context)
                        for place, condition in enumerate(part.ifs):
                            text = partial(_shown, part, "ifs", place)
                            if not _is_negated_elsewhere(condition):
                                changes = ((part, "ifs", place, _negated(condition)),)
                                yield Site("negation", condition, changes, text, context)
                            yield from self.expression(part, "ifs", place, context)
                    elif isinstance(part, ast.expr):
                        yield from self.expression(node, name, index, context, shown)

    def constants(
        self, node: ast.Constant | ast.JoinedStr, owner: ast.AST, context: _Context
    ) -> Iterator[tuple[str, ast.expr]]:
        """Other values of a constant; a text is changed only as a condition of DynamoDB."""
        if isinstance(node, ast.JoinedStr) or isinstance(node.value, str):
            if context.in_call != "KeyConditionExpression":
                yield from _clauses(node)
            return
        value = node.value
        others: Sequence[Any] = ()
        if isinstance(value, bool):
            others = (not value,)
        elif isinstance(value, int | float):
            others = (value + 1, value - 1) if value > 0 else (value + 1,)
        elif value is None and isinstance(owner, ast.Call | ast.keyword):
            others = (...,)
        for other in others:
            yield "constant", _at(node, ast.Constant(other))

    def compared(
        self, node: ast.Compare, context: _Context, shown: Callable[[], str]
    ) -> Iterator[Site]:
        """Each operator of a comparison."""
        for index, found in enumerate(node.ops):
            changes = ((node, "ops", index, _COMPARISONS[type(found)]()),)
            yield Site("comparison", node, changes, shown, context)

    def operator_of(
        self, node: ast.BinOp | ast.AugAssign, context: _Context, shown: Callable[[], str]
    ) -> Iterator[Site]:
        """The operator of a calculation; texts and lists are put together, not calculated."""
        sides = (node.left, node.right) if isinstance(node, ast.BinOp) else (node.value,)
        joined = (ast.JoinedStr, ast.List, ast.Tuple)
        if any(_is_str(side) or isinstance(side, joined) for side in sides):
            return
        if (other := _ARITHMETIC.get(type(node.op))) is not None:
            yield Site("arithmetic", node, ((node, "op", None, other()),), shown, context)

    def call(self, node: ast.Call, context: _Context, shown: Callable[[], str]) -> Iterator[Site]:
        """A call: another function, an argument left out, and the arguments changed."""
        called = _simple_name(node.func)
        if called in _UNMUTATED_CALLS:
            return
        if isinstance(node.func, ast.Name) and called in _SWAPPED_CALLS:
            new = _at(node.func, ast.Name(_SWAPPED_CALLS[called], ast.Load()))
            yield Site("max/min", node, ((node, "func", None, new),), shown, context)
        if isinstance(node.func, ast.Attribute):
            yield from self.expression(node.func, "value", None, context, shown)
            yield from self.joined(node, node.func, context)
        for index in range(len(node.args)):
            yield from self.expression(node, "args", index, context, shown)
        optional = self._facts.optional.get(called, frozenset())
        for index, keyword in enumerate(node.keywords):
            if keyword.arg is None or keyword.arg in _UNSEEN_OPTIONS:
                continue
            if keyword.arg in optional or called == "replace" or keyword.arg in DROP_ALWAYS:
                fewer = [other for place, other in enumerate(node.keywords) if place != index]
                changes = ((node, "keywords", None, fewer),)
                text = partial(ast.unparse, keyword)
                yield Site("argument", keyword, changes, text, context, "left out")
            here = replace(context, in_call=keyword.arg)
            text = partial(ast.unparse, keyword)
            yield from self.expression(keyword, "value", None, here, text)

    def joined(self, node: ast.Call, function: ast.Attribute, context: _Context) -> Iterator[Site]:
        """The clauses that `" AND ".join((...))` puts together, each always true."""
        match function.value, node.args:
            case ast.Constant(value=" AND "), [ast.Tuple() | ast.List() as clauses]:
                for index, item in enumerate(clauses.elts):
                    match item:
                        case ast.Starred(value=ast.GeneratorExp() as several):
                            yield self.always(several, "elt", None, context)
                        case ast.Starred():
                            continue
                        case _:
                            yield self.always(clauses, "elts", index, context)

    def always(self, owner: ast.AST, name: str, index: int | None, context: _Context) -> Site:
        """A clause that holds, and that still uses its placeholders."""
        clause: ast.expr = _get(owner, name, index)
        value = ast.FormattedValue(clause, -1)
        parts = [ast.Constant("(("), value, ast.Constant(") OR NOT (")]
        always = ast.JoinedStr([*parts, copy.deepcopy(value), ast.Constant("))")])
        changes = ((owner, name, index, _at(clause, always)),)
        return Site("clause", clause, changes, partial(_shown, owner, name, index), context)

    def dictionary(self, node: ast.Dict, context: _Context) -> Iterator[Site]:
        """The values of a dictionary; an optional argument of DynamoDB is left out as well."""
        for index, key in enumerate(node.keys):
            name = key.value if isinstance(key, ast.Constant) else ""
            text = partial(_shown_entry, node, index)
            if name in DROP_ALWAYS:
                changes = tuple(
                    (
                        node,
                        part,
                        None,
                        [*getattr(node, part)[:index], *getattr(node, part)[index + 1 :]],
                    )
                    for part in ("keys", "values")
                )
                yield Site("argument", node.values[index], changes, text, context, "left out")
            here = replace(context, in_call=name if isinstance(name, str) else "")
            yield from self.expression(node, "values", index, here, text)

    def _other_member(self, kind: str, member: str) -> str | None:
        members = self._facts.enums[kind]
        if member not in members or len(members) == 1:
            return None
        return members[(members.index(member) + 1) % len(members)]


# DynamoDB's conditions


def _clauses(node: ast.Constant | ast.JoinedStr) -> Iterator[tuple[str, ast.expr]]:
    """A condition with one of its clauses always true, and with existence the other way round.

    A clause that is left out would leave its placeholders unused, which DynamoDB refuses: the
    mutant would be killed by any call at all. `(clause OR NOT clause)` changes the meaning alone.
    """
    text, values = _as_text(node)
    rebuilt = partial(_from_text, node, values)
    if _CONDITION.search(text) and not _NO_CONDITION.search(text):
        clauses = text.split(" AND ")
        for index, clause in enumerate(clauses):
            if clause.strip():
                always = _always(clause)
                changed = " AND ".join([*clauses[:index], always, *clauses[index + 1 :]])
                yield "clause", rebuilt(changed)
        for changed in (*_without_alternatives(text), *_compared_otherwise(text)):
            yield "clause", rebuilt(changed)
    for found in _EXISTENCE.finditer(text):
        other = "attribute_exists" if found[1] else "attribute_not_exists"
        yield "existence", rebuilt(text[: found.start()] + other + text[found.end() :])


def _always(clause: str) -> str:
    """The condition that a clause holds or does not."""
    # A value may hold several clauses.
    is_several = _VALUE.fullmatch(clause) or (" OR " in clause and not clause.startswith("("))
    inner = f"({clause})" if is_several else clause
    return f"({inner} OR NOT {inner})"


def _without_alternatives(text: str) -> Iterator[str]:
    """A condition `(a OR b)` with one of its alternatives never true."""
    if not (text.startswith("(") and text.endswith(")") and " OR " in text):
        return
    alternatives = text[1:-1].split(" OR ")
    for index, alternative in enumerate(alternatives):
        never = f"({alternative} AND NOT {alternative})"
        changed = [*alternatives[:index], never, *alternatives[index + 1 :]]
        yield f"({' OR '.join(changed)})"


def _compared_otherwise(text: str) -> Iterator[str]:
    """A condition with one of its order comparisons at another limit."""
    for found in _LIMIT.finditer(text):
        other = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}[found[1]]
        yield text[: found.start(1)] + other + text[found.end(1) :]


def _as_text(node: ast.Constant | ast.JoinedStr) -> tuple[str, list[ast.expr]]:
    """A text in which `_VALUE` stands for each value of an f-string, and these values."""
    values: list[ast.expr] = []
    text = ""
    for part in node.values if isinstance(node, ast.JoinedStr) else (node,):
        if isinstance(part, ast.Constant):
            text += str(part.value)
        else:
            text += f"\0{len(values)}\0"
            values.append(part)
    return text, values


def _from_text(node: ast.expr, values: Sequence[ast.expr], text: str) -> ast.expr:
    """The opposite of `_as_text`, in the place of a node."""
    if not values:
        return _at(node, ast.Constant(text))
    parts: list[ast.expr] = []
    for place, piece in enumerate(_VALUE.split(text)):
        if place % 2:
            parts.append(copy.deepcopy(values[int(piece)]))
        elif piece:
            parts.append(ast.Constant(piece))
    return _at(node, ast.JoinedStr(parts))


# Texts of what is changed


def _header(node: ast.AST) -> str:
    """A statement in one line, without the blocks under it."""
    if not isinstance(node, ast.stmt):
        return _one_line(ast.unparse(node))
    blocks = ("body", "orelse", "finalbody", "handlers", "cases")
    if not any(getattr(node, name, None) for name in blocks):
        return _one_line(ast.unparse(node))
    shallow = copy.copy(node)
    for name in blocks:
        if hasattr(node, name):
            setattr(shallow, name, [])
    if isinstance(shallow, ast.Match):
        return _one_line(f"match {ast.unparse(shallow.subject)}:")
    if isinstance(shallow, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        shallow.decorator_list = []
    return _one_line(ast.unparse(shallow))


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _shown(owner: ast.AST, name: str, index: int | None) -> str:
    return _one_line(ast.unparse(_get(owner, name, index)))


def _shown_entry(node: ast.Dict, index: int) -> str:
    key, value = node.keys[index], node.values[index]
    name = "**" if key is None else f"{ast.unparse(key)}: "
    return _one_line(name + ast.unparse(value))


def _shown_default(arguments: ast.arguments, name: str, index: int) -> str:
    if name == "kw_defaults":
        argument = arguments.kwonlyargs[index]
    else:
        positional = [*arguments.posonlyargs, *arguments.args]
        argument = positional[index - len(arguments.defaults)]
    return f"{argument.arg}={_one_line(ast.unparse(getattr(arguments, name)[index]))}"


# Questions about nodes


def _get(owner: ast.AST, name: str, index: int | None) -> Any:
    value = getattr(owner, name)
    return value if index is None else value[index]


def _put(owner: ast.AST, name: str, index: int | None, value: Any) -> None:
    if index is None:
        setattr(owner, name, value)
    else:
        getattr(owner, name)[index] = value


def _at(old: ast.AST, new: _Node) -> _Node:
    return ast.fix_missing_locations(ast.copy_location(new, old))


def _negated(node: ast.expr) -> ast.expr:
    return _at(node, ast.UnaryOp(ast.Not(), node))


def _is_negated_elsewhere(node: ast.expr) -> bool:
    """Whether another operator makes the same mutant."""
    if isinstance(node, ast.UnaryOp):
        return isinstance(node.op, ast.Not)
    return (
        isinstance(node, ast.Compare) and len(node.ops) == 1 and not isinstance(node.ops[0], _ORDER)
    )


def _is_constant(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant)


def _is_str(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _is_text(node: ast.stmt) -> bool:
    """Whether a statement is a docstring or `...`."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _is_guard(test: ast.expr) -> bool:
    """Whether a condition holds for type checkers, or for a script, alone."""
    text = ast.unparse(test)
    return "TYPE_CHECKING" in text or "__name__" in text


def _is_type_alias(node: ast.stmt, context: _Context) -> bool:
    if context.function is not None or not isinstance(node, ast.Assign):
        return isinstance(node, ast.AnnAssign) and "TypeAlias" in ast.unparse(node.annotation)
    return (
        all(
            isinstance(
                item,
                ast.BinOp
                | ast.Name
                | ast.Subscript
                | ast.Attribute
                | ast.Constant
                | ast.operator
                | ast.expr_context
                | ast.Tuple,
            )
            for item in ast.walk(node.value)
        )
        and not isinstance(node.value, ast.Constant | ast.Tuple | ast.Attribute)
        and _names_type(node)
    )


def _names_type(node: ast.Assign) -> bool:
    name = ast.unparse(node.targets[0])
    return name[:1].isupper() and not name.isupper()


def _is_type_union(node: ast.BinOp) -> bool:
    """Whether `A | B` is an argument of isinstance."""
    if not isinstance(node.op, ast.BitOr):
        return False
    return all(
        (name := _simple_name(side)) in {"str", "int", "float", "list", "dict", "bool", "tuple"}
        or (name[:1].isupper() and not name.isupper())
        or (isinstance(side, ast.BinOp) and _is_type_union(side))
        or (isinstance(side, ast.Constant) and side.value is None)
        for side in (node.left, node.right)
    )


def _simple_name(node: ast.AST) -> str:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Subscript(value=value):
            return _simple_name(value)
        case _:
            return ""


def _can_be_left_out(node: ast.stmt, context: _Context) -> bool:
    match node:
        case ast.Expr(value=ast.Call() | ast.Await()):
            return context.function is not None
        case ast.AugAssign() | ast.Delete():
            return context.function is not None
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            return context.function is not None
        case ast.Assign(targets=[ast.Name(id=name)], value=ast.Call()):
            return name in context.bound
        case ast.Raise() | ast.Return(value=None) | ast.Continue() | ast.Break():
            return context.nested
        case _:
            return False


def _targets(node: ast.stmt) -> frozenset[str]:
    """The names that a statement gives a value to, in its blocks as well."""
    found: set[str] = set()
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Store):
            found.add(part.id)
        elif isinstance(part, ast.Attribute) and isinstance(part.ctx, ast.Store):
            found.add(part.attr)
    return frozenset(found)


def _as_field(context: _Context) -> frozenset[str]:
    """The class whose field is assigned: what makes an instance uses the default."""
    return frozenset(context.qualname[-1:])


def _line(node: ast.AST) -> int:
    return int(getattr(node, "lineno", 0))


def _header_end(node: ast.AST) -> int:
    return int(getattr(node, "end_lineno", 0))


def _touched_line(context: _Context) -> int:
    """The line that a test must run: a default's is the first one of its function."""
    statement = context.statement
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
        statement = next((item for item in statement.body if not _is_text(item)), statement)
    return _line(statement) if statement is not None else 0


def _with_default(arguments: ast.arguments) -> Iterator[str]:
    positional = [*arguments.posonlyargs, *arguments.args]
    if arguments.defaults:
        yield from (argument.arg for argument in positional[-len(arguments.defaults) :])
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        if default is not None:
            yield argument.arg


def _members(node: ast.ClassDef) -> Iterator[str]:
    for item in node.body:
        if isinstance(item, ast.Assign) and isinstance(item.targets[0], ast.Name):
            yield item.targets[0].id
