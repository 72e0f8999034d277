"""Takes one defence out of a module's source at a time: pure text in, changed texts out."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator
from dataclasses import dataclass

_NEGATED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
}
_SHIFTED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
_BOUNDS = ("ge", "le", "pattern", "max_length", "min_length")


@dataclass(frozen=True, slots=True)
class Mutant:
    """One changed module. `line` and `words` name it for people and for the list of those that change nothing."""

    line: int
    words: str
    source: str


def mutants(source: str) -> Iterator[Mutant]:
    """Every mutant of one module."""
    tree = ast.parse(source)
    for position, node in enumerate(ast.walk(tree)):
        for words, change in _changes(node):
            changed = copy.deepcopy(tree)
            twin = next(one for index, one in enumerate(ast.walk(changed)) if index == position)
            change(twin)
            yield Mutant(getattr(node, "lineno", 0), words, ast.unparse(ast.fix_missing_locations(changed)))


def _changes(node: ast.AST) -> Iterator[tuple[str, _Change]]:
    for name, body in _bodies(node):
        for index, statement in enumerate(body):
            text = ast.unparse(statement).splitlines()[0][:100]
            if isinstance(statement, ast.Raise) or (
                isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            ):
                yield f"drop `{text}`", _Drop(name, index)
    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            for table in (_NEGATED, _SHIFTED):
                if type(operator) in table:
                    other = table[type(operator)]
                    yield f"{other.__name__} in `{ast.unparse(node)[:100]}`", _Compare(index, other)
    elif isinstance(node, ast.BoolOp):
        other_word: type[ast.boolop] = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"{other_word.__name__} in `{ast.unparse(node)[:100]}`", _Word(other_word)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield f"no not in `{ast.unparse(node)[:100]}`", _NoNot()
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id.startswith("check_"):
        yield f"no `{ast.unparse(node)[:100]}`", _Unchecked()
    elif isinstance(node, ast.Call) and ast.unparse(node.func) == "msgspec.Meta":
        for index, keyword in enumerate(node.keywords):
            if keyword.arg in _BOUNDS:
                yield f"drop `{keyword.arg}` of `{ast.unparse(node)[:100]}`", _DropKeyword(index)


def _bodies(node: ast.AST) -> Iterator[tuple[str, list[ast.stmt]]]:
    for name in ("body", "orelse", "finalbody"):
        value = getattr(node, name, None)
        if isinstance(value, list):
            yield name, value


@dataclass(frozen=True, slots=True)
class _Drop:
    name: str
    index: int

    def __call__(self, node: ast.AST) -> None:
        getattr(node, self.name)[self.index] = ast.Pass()


@dataclass(frozen=True, slots=True)
class _Compare:
    index: int
    other: type[ast.cmpop]

    def __call__(self, node: ast.AST) -> None:
        assert isinstance(node, ast.Compare)
        node.ops[self.index] = self.other()


@dataclass(frozen=True, slots=True)
class _Word:
    other: type[ast.boolop]

    def __call__(self, node: ast.AST) -> None:
        assert isinstance(node, ast.BoolOp)
        node.op = self.other()


@dataclass(frozen=True, slots=True)
class _NoNot:
    def __call__(self, node: ast.AST) -> None:
        assert isinstance(node, ast.UnaryOp)
        node.operand = ast.UnaryOp(ast.Not(), node.operand)


@dataclass(frozen=True, slots=True)
class _Unchecked:
    """``check_…(value, …)`` gives back the value, unchecked."""

    def __call__(self, node: ast.AST) -> None:
        assert isinstance(node, ast.Call)
        node.func = ast.parse("(lambda value, *_: value)", mode="eval").body


@dataclass(frozen=True, slots=True)
class _DropKeyword:
    index: int

    def __call__(self, node: ast.AST) -> None:
        assert isinstance(node, ast.Call)
        del node.keywords[self.index]


_Change = _Drop | _Compare | _Word | _NoNot | _Unchecked | _DropKeyword
