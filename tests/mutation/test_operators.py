from __future__ import annotations

import ast
from textwrap import dedent

import pytest

from tests.mutation.operators import Facts, Mutant, facts_of, mutants, mutated


def mutants_of(source: str, facts: Facts | None = None) -> list[Mutant]:
    """The mutants of a source that is indented as the test is."""
    text = dedent(source)
    return list(mutants("pack/code.py", "pack.code", text, facts or facts_of([ast.parse(text)])))


def mutations_of(source: str, operator: str) -> list[str]:
    """What one operator does to the body of a function."""
    body = dedent(source).strip().replace("\n", "\n    ")
    found = mutants_of(f"def f(a, b, x, y):\n    {body}\n")
    return [mutant.mutation for mutant in found if mutant.operator == operator]


@pytest.mark.parametrize(
    ("code", "operator", "expected"),
    [
        ("return a < b", "comparison", ["a < b -> a <= b"]),
        ("return a <= b", "comparison", ["a <= b -> a < b"]),
        ("return a > b", "comparison", ["a > b -> a >= b"]),
        ("return a >= b", "comparison", ["a >= b -> a > b"]),
        ("return a == b", "comparison", ["a == b -> a != b"]),
        ("return a is not b", "comparison", ["a is not b -> a is b"]),
        ("return a in b", "comparison", ["a in b -> a not in b"]),
        ("return a < b < x", "comparison", ["a < b < x -> a <= b < x", "a < b < x -> a < b <= x"]),
        ("return a and b", "and/or", ["a and b -> a or b"]),
        ("return a or b", "and/or", ["a or b -> a and b"]),
        ("return not a", "negation", ["not a -> a"]),
        ("if a:\n    return b", "negation", ["a -> not a"]),
        ("if a < b:\n    return b", "negation", ["a < b -> not a < b"]),
        ("while a:\n    a()", "negation", ["a -> not a"]),
        ("return x if a else y", "negation", ["a -> not a"]),
        ("return [x for x in a if x]", "negation", ["x -> not x"]),
        ("a(7)", "constant", ["a(7) -> a(8)", "a(7) -> a(6)"]),
        ("a(0)", "constant", ["a(0) -> a(1)"]),
        ("a(x=True)", "constant", ["x=True -> x=False"]),
        ("a(x=None)", "constant", ["x=None -> x=..."]),
        ("return {'x': 1.5}", "constant", ["'x': 1.5 -> 'x': 2.5", "'x': 1.5 -> 'x': 0.5"]),
        ("a()", "statement", ["a() -> pass"]),
        ("a.b = x()", "statement", ["a.b = x() -> pass"]),
        ("a['b'] = x", "statement", ["a['b'] = x -> pass"]),
        ("a += x", "statement", ["a += x -> pass"]),
        ("a = x()", "statement", ["a = x() -> pass"]),
        ("if a:\n    raise b", "statement", ["raise b -> pass"]),
        ("for x in a:\n    continue", "statement", ["continue -> pass"]),
        ("try:\n    y = b\nexcept x:\n    raise", "statement", ["raise -> pass"]),
        ("return max(a, b)", "max/min", ["max(a, b) -> min(a, b)"]),
        ("return any(a)", "max/min", ["any(a) -> all(a)"]),
        ("return a + b", "arithmetic", ["a + b -> a - b"]),
        ("return a * b", "arithmetic", ["a * b -> a / b"]),
        ("return a // b", "arithmetic", ["a // b -> a * b"]),
        ("return a | b", "arithmetic", ["a | b -> a & b"]),
        ("return -a", "arithmetic", ["-a -> a"]),
        ("a -= b", "arithmetic", ["a -= b -> a += b"]),
        ("a(ConsistentRead=b)", "argument", ["ConsistentRead=b -> left out"]),
        ("return {'ConsistentRead': b}", "argument", ["'ConsistentRead': b -> left out"]),
        ("return replace(a, x=b)", "argument", ["x=b -> left out"]),
        (
            "a('attribute_exists(k)')",
            "existence",
            ["'attribute_exists(k)' -> 'attribute_not_exists(k)'"],
        ),
        (
            "a('attribute_not_exists(k)')",
            "clause",
            [
                (
                    "'attribute_not_exists(k)' -> "
                    "'(attribute_not_exists(k) OR NOT attribute_not_exists(k))'"
                )
            ],
        ),
        (
            "return f'{a} = :v AND size(s) = :n'",
            "clause",
            [
                "f'{a} = :v AND size(s) = :n' -> f'({a} = :v OR NOT {a} = :v) AND size(s) = :n'",
                (
                    "f'{a} = :v AND size(s) = :n' -> "
                    "f'{a} = :v AND (size(s) = :n OR NOT size(s) = :n)'"
                ),
            ],
        ),
        (
            "return f'({a} = :a OR {b} <= :b)'",
            "clause",
            [
                (
                    "f'({a} = :a OR {b} <= :b)' -> "
                    "f'(({a} = :a OR {b} <= :b) OR NOT ({a} = :a OR {b} <= :b))'"
                ),
                "f'({a} = :a OR {b} <= :b)' -> f'(({a} = :a AND NOT {a} = :a) OR {b} <= :b)'",
                "f'({a} = :a OR {b} <= :b)' -> f'({a} = :a OR ({b} <= :b AND NOT {b} <= :b))'",
                "f'({a} = :a OR {b} <= :b)' -> f'({a} = :a OR {b} < :b)'",
            ],
        ),
        (
            "return ' AND '.join((a(b), x))",
            "clause",
            ["a(b) -> f'(({a(b)}) OR NOT ({a(b)}))'", "x -> f'(({x}) OR NOT ({x}))'"],
        ),
        (
            "return ' AND '.join((x, *(a(b) for b in y), *x))",
            "clause",
            ["x -> f'(({x}) OR NOT ({x}))'", "a(b) -> f'(({a(b)}) OR NOT ({a(b)}))'"],
        ),
        (
            "return f'{a(b)} AND {b}'",
            "clause",
            [
                "f'{a(b)} AND {b}' -> f'(({a(b)}) OR NOT ({a(b)})) AND {b}'",
                "f'{a(b)} AND {b}' -> f'{a(b)} AND (({b}) OR NOT ({b}))'",
            ],
        ),
        (
            "a += f' AND attribute_exists({b})'",
            "clause",
            [
                (
                    "f' AND attribute_exists({b})' -> "
                    "f' AND (attribute_exists({b}) OR NOT attribute_exists({b}))'"
                )
            ],
        ),
    ],
)
def test_operator_makes_the_listed_mutants(code: str, operator: str, expected: list[str]) -> None:
    """Each operator's changes, as the report and the list of accepted ones show them."""
    assert mutations_of(code, operator) == expected


@pytest.mark.parametrize(
    "code",
    [
        '"""Text 1."""',
        "x: Final[list[int | None]] = a",
        "return 'some AND text BETWEEN 1 AND 2'",
        "return a(KeyConditionExpression='k = :k AND s = :s')",
        "return zip(a, b, strict=True)",
        "return 'a' + b",
        "return [a] + b",
        "return 'a %s' % b",
        "return cast(int | None, a)",
        "return isinstance(a, str | int)",
        "if TYPE_CHECKING:\n    a()",
    ],
)
def test_texts_types_and_guards_are_not_mutated(code: str) -> None:
    """No test could detect these mutants, or they would be equivalent."""
    assert [
        mutant
        for mutant in mutants_of(
            f"def f(a, b):\n    {code}\n".replace("\n    a()", "\n        a()")
        )
        if mutant.operator != "statement"
    ] == []


def test_optional_function_returns_none() -> None:
    """Only with an optional return type, and only where None is not returned already."""
    found = mutants_of(
        """
        def f(a) -> int | None:
            if a:
                return None
            return a
        def g(a) -> int:
            return a
        """
    )
    wanted = [each for each in found if each.operator == "return None"]
    assert [(each.qualname, each.mutation) for each in wanted] == [("f", "return a -> return None")]


def test_result_of_a_predicate_is_negated() -> None:
    """A call that a function of type bool returns is negated; a comparison has its own mutant."""
    found = mutants_of(
        """
        def f(a) -> bool:
            return a.b()
        def g(a) -> bool:
            return a == 1
        """
    )
    assert [each.mutation for each in found if each.operator == "negation"] == [
        "return a.b() -> return not a.b()"
    ]


def test_enum_member_becomes_the_next_one() -> None:
    """A member of an enumeration of the code is exchanged, the last one for the first one."""
    found = mutants_of(
        """
        class Written(Enum):
            DONE = auto()
            LOST_RACE = auto()
        def f():
            return Written.LOST_RACE
        """
    )
    assert [each.mutation for each in found if each.operator == "enum member"] == [
        "return Written.LOST_RACE -> return Written.DONE"
    ]


def test_argument_with_a_default_is_omitted() -> None:
    """Only arguments that are optional for the function or the dataclass."""
    found = mutants_of(
        """
        @dataclass
        class Seen:
            job: str
            lost: bool = a
        def g(*, x, y=a): ...
        def f(b):
            g(x=b, y=b)
            return Seen(job=b, lost=b)
        """
    )
    assert [each.mutation for each in found if each.operator == "argument"] == [
        "y=b -> left out",
        "lost=b -> left out",
    ]


def test_mutant_of_a_definition_has_the_names_to_find_its_tests() -> None:
    """Constants, fields and defaults are changed at import; their names lead to the tests."""
    found = mutants_of(
        """
        LIMIT = 3
        class Seen:
            count: int = 0
        def f(a=1):
            return a
        """
    )
    assert [(each.mutation, each.qualname, each.at_definition) for each in found] == [
        ("LIMIT = 3 -> LIMIT = 4", "<module>", True),
        ("LIMIT = 3 -> LIMIT = 2", "<module>", True),
        ("count: int = 0 -> count: int = 1", "Seen", True),
        ("a=1 -> a=2", "f", True),
        ("a=1 -> a=0", "f", True),
    ]
    assert found[0].uses == {"LIMIT"}
    assert found[2].uses == {"count", "Seen"}
    # A default is used where its function runs.
    assert found[3].statement == 6


def test_key_is_stable_when_lines_move() -> None:
    """Neither comments nor line numbers are part of the key."""
    before = mutants_of("def f(a):\n    return a + 1\n")
    after = mutants_of("import os\n\n\ndef f(a):\n    # Why.\n    return (\n        a + 1\n    )\n")
    assert [each.key for each in before] == [each.key for each in after]
    assert [each.line for each in before] != [each.line for each in after]


def test_same_change_twice_in_a_function_is_numbered() -> None:
    """Two mutants never have the same key."""
    found = mutants_of("def f(a, b):\n    x = a < b\n    return a < b\n")
    assert [each.mutation for each in found] == ["a < b -> a <= b", "a < b -> a <= b #2"]


def test_mutant_is_found_again_by_its_number() -> None:
    """The tree that a worker compiles has the one change that the report names."""
    source = "def f(a, b):\n    if a > 1:\n        b()\n    return a and b\n"
    facts = facts_of([ast.parse(source)])
    for mutant in mutants("code.py", "code", source, facts):
        text = ast.unparse(mutated(source, facts, mutant.number))
        assert text != ast.unparse(ast.parse(source))
        assert mutant.mutation.partition(" -> ")[2] in text
    with pytest.raises(LookupError, match="the source has no mutant 99"):
        mutated(source, facts, 99)


def test_omitted_statement_is_in_the_difference() -> None:
    """The report has the statement before and after in one line each."""
    [mutant] = [each for each in mutants_of("def f(a):\n    a(\n    )\n") if each.line]
    assert mutant.difference == ("a()", "pass")
    assert (mutant.line, mutant.last_line, mutant.name) == (2, 3, "pack.code:f")
