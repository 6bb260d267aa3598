"""The user's own functions: imported from beside the config file, and every way in which that fails."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from mess.config.load import load
from tests.unit.config.conftest import Load, Problems

BASE = "databases: {a: }\npipeline: [p]\nplugins:\n  p: "
GOOD = "def enrich(input, config, context): return input\n"


def test_a_function_beside_the_config_file_is_imported(loads: Load) -> None:
    Path("my_plugins.py").write_text(GOOD)
    function = loads(BASE + "my_plugins:enrich").functions["my_plugins:enrich"]
    assert function({"a": 1}, {}, {}) == {"a": 1}


def test_modules_beside_the_config_file_may_import_one_another(loads: Load) -> None:
    Path("helpers_of_mine.py").write_text("VALUE = 7\n")
    Path("my_plugins.py").write_text("from helpers_of_mine import VALUE\ndef f(i, c, x): return VALUE\n")
    assert loads(BASE + "my_plugins:f").functions["my_plugins:f"](0, 0, 0) == 7


def test_packages_methods_and_partial_signatures_work(loads: Load) -> None:
    Path("pack").mkdir()
    Path("pack/__init__.py").touch()
    Path("pack/inner.py").write_text("class A:\n    @staticmethod\n    def f(*arguments): return arguments\n")
    assert loads(BASE + "pack.inner:A.f").functions["pack.inner:A.f"](1, 2, 3) == (1, 2, 3)


def test_two_config_files_have_each_their_own_module_of_one_name(loads: Load) -> None:
    for folder in ("one", "two"):
        Path(folder).mkdir()
        Path(folder, "my_plugins.py").write_text(f"def f(i, c, x): return '{folder}'\n")
        Path(folder, "c.yml").write_text(BASE + "my_plugins:f")
    assert [load(f"{folder}/c.yml", environ={}).functions["my_plugins:f"](0, 0, 0) for folder in ("one", "two")] == [
        "one",
        "two",
    ]


def test_a_module_that_is_installed_works(loads: Load) -> None:
    assert loads(BASE + "operator:setitem").functions["operator:setitem"].__name__ == "setitem"


@pytest.mark.parametrize(
    ("module", "reference", "problem"),
    [
        (
            GOOD,
            "my_plugin:enrich",
            "there is no module my_plugin: neither my_plugin.py beside the config file, nor an installed package",
        ),
        (GOOD, f"{'a' * 300}:f", f"there is no module {'a' * 300}: neither"),
        (GOOD, "my_plugins:enrch", 'my_plugins has no function enrch; did you mean "enrich"?'),
        (GOOD, "my_plugins:enrich.x", "my_plugins has no function enrich.x"),
        ("enrich = 3", "my_plugins:enrich", "my_plugins:enrich is not a function"),
        (
            "def enrich(input): ...",
            "my_plugins:enrich",
            "must take 3 arguments: def enrich(input, config, context)",
        ),
        (
            "x = 1\n1 / 0",
            "my_plugins:f",
            "my_plugins cannot be imported: my_plugins.py:2: ZeroDivisionError: division by zero",
        ),
        (
            "import sys\nsys.exit('no')",
            "my_plugins:f",
            "my_plugins cannot be imported: my_plugins.py:2: SystemExit: no",
        ),
        ("def f(:", "my_plugins:f", "my_plugins cannot be imported: my_plugins.py:1: SyntaxError: invalid syntax"),
        (
            "\nimport nothing_like_this",
            "my_plugins:f",
            "my_plugins cannot be imported: my_plugins.py:2: ModuleNotFoundError: No module named 'nothing_like_this'",
        ),
        (
            "import json\njson.loads('{')",
            "my_plugins:f",
            "my_plugins cannot be imported: my_plugins.py:2: JSONDecodeError: ",
        ),
    ],
)
def test_a_function_that_cannot_be_had_is_a_problem_with_its_place(
    problems: Problems, module: str, reference: str, problem: str
) -> None:
    Path("my_plugins.py").write_text(module)
    found = problems(BASE + reference)
    assert len(found) == 1
    assert found[0].startswith(f"config.yml:4: plugins.p: {problem}")


def test_a_hook_takes_two_arguments(problems: Problems) -> None:
    Path("my_plugins.py").write_text(GOOD)
    found = problems("databases:\n  a:\n    changeHook: my_plugins:enrich")
    assert found == ["config.yml:3: databases.a.changeHook: must take 2 arguments: def enrich(item, context)"]


def test_a_file_with_the_name_of_one_of_pythons_modules_is_refused(problems: Problems) -> None:
    Path("types.py").write_text(GOOD)
    found = problems(BASE + "types:enrich")
    assert found == ["config.yml:4: plugins.p: types.py has the same name as one of Python's own modules; rename it"]
    assert str(Path.cwd()) not in sys.path


@pytest.mark.parametrize("name", ["redis", "pika", "nats", "yaml", "aiohttp", "mess"])
def test_a_file_with_the_name_of_an_installed_package_is_refused(problems: Problems, name: str) -> None:
    """Else it is not clear which of them is meant."""
    Path(f"{name}.py").write_text(GOOD)
    assert problems(f"{BASE}{name}:enrich") == [
        f"config.yml:4: plugins.p: {name}.py has the same name as an installed package; rename it"
    ]


def test_a_file_beside_the_config_never_takes_the_place_of_a_package(loads: Load) -> None:
    """Whether MESS imports that package, or a function of the user's does; and the user is told."""
    Path("hypothesis.py").write_text("raise RuntimeError('the wrong one')\n")
    Path("redis.py").write_text("raise RuntimeError('the wrong one')\n")
    Path("my_plugins.py").write_text("import hypothesis\ndef f(i, c, x): import redis; return redis.__file__\n")
    loaded = loads(BASE + "my_plugins:f")
    assert "site-packages" in loaded.functions["my_plugins:f"](0, 0, 0)
    assert [str(warning) for warning in loaded.warnings] == [
        f"config.yml:1: {name}.py beside it has the same name as an installed package, which `import {name}` finds "
        "first"
        for name in ("hypothesis", "redis")
    ]


def test_files_beside_the_config_do_not_matter_without_functions(loads: Load) -> None:
    Path("redis.py").write_text("raise RuntimeError('the wrong one')\n")
    assert loads("databases: {a: }\npipeline: [log]").warnings == ()
    assert str(Path.cwd()) not in sys.path


def test_a_folder_that_is_installed_itself_works(loads: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a project of the user's own, in development."""
    monkeypatch.syspath_prepend(str(Path.cwd()))
    Path("my_plugins.py").write_text(GOOD)
    assert loads(BASE + "my_plugins:enrich").functions


def test_the_other_mistakes_are_reported_with_it(problems: Problems) -> None:
    assert len(problems(BASE + "no_such:f\n  q: no_such_either:f\nnme: x")) == 3
