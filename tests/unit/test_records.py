"""Records with many fields are readable where they are made."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
POSITIONAL = 3
FILES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text()) for path in (ROOT / "mess").rglob("*.py")}


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _is_record(node: ast.ClassDef) -> bool:
    if any(isinstance(base, ast.Name) and base.id == "NamedTuple" for base in node.bases):
        return True
    return any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list)


RECORDS = {
    (_module(file), node.name)
    for file, tree in FILES.items()
    for node in ast.walk(tree)
    if isinstance(node, ast.ClassDef) and _is_record(node)
}


def _imports(tree: ast.Module) -> dict[str, tuple[str, str]]:
    """Where the names that a file imports come from."""
    return {
        name.asname or name.name: (node.module, name.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module
        for name in node.names
    }


IMPORTS = {_module(file): _imports(tree) for file, tree in FILES.items()}


def _home(module: str, name: str) -> tuple[str, str]:
    """Where a name is defined that a module defines or has imported."""
    imported = IMPORTS.get(module, {}).get(name)
    return _home(*imported) if imported and imported != (module, name) else (module, name)


def _many_by_position(file: str, tree: ast.Module) -> Iterator[str]:
    """The calls in a file that make a record with more than three arguments by position."""
    imports = _imports(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and len(node.args) > POSITIONAL:
            name = node.func.id
            if _home(*imports.get(name, (_module(file), name))) in RECORDS:
                yield f"{file}:{node.lineno}: {ast.unparse(node)}"


def test_the_records_are_found() -> None:
    """Otherwise the next test would find nothing."""
    assert ("mess.errors", "Problem") in RECORDS
    assert ("mess.steps.queue.broker", "Message") in RECORDS
    assert list(_many_by_position("mess/x.py", ast.parse("from mess.state.store import Gap\nGap('', None, None, '')")))
    assert list(_many_by_position("mess/x.py", ast.parse("from mess.errors import Problem\nProblem('', '', None, 1)")))
    assert not list(_many_by_position("mess/x.py", ast.parse("from mess.errors import Problem\nProblem('', line=1)")))


@pytest.mark.parametrize("file", sorted(FILES))
def test_arguments_beyond_the_third_are_named(file: str) -> None:
    """Nobody can read `Gap(name, since, None, reason, now, namespaces, True)`, and two of its arguments swapped may
    well type-check."""
    assert list(_many_by_position(file, FILES[file])) == []
