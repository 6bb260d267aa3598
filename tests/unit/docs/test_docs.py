"""The documentation is true of the code: links, configs, commands, metrics, and the pages made from the models."""

from __future__ import annotations

import ast
import re
import shutil
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from docs import generate
from mess.cli import app
from mess.config.load import load
from mess.errors import ConfigError
from mess.telemetry.metrics import Metrics

ROOT = Path(__file__).parents[3]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *sorted(path for path in (ROOT / "docs").rglob("*.md") if not path.name.endswith((".intro.md", ".more.md"))),
]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ENVIRONMENT = {
    "MONGODB_URL": "mongodb://localhost:27017/?replicaSet=rs0",
    "WEBHOOK_URL": "https://example.com/hook",
    "WEBHOOK_SECRET": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}
page = pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))


def blocks(path: Path, *languages: str) -> Iterator[str]:
    for language, text in BLOCK.findall(path.read_text()):
        if language in languages:
            yield text


def prose(path: Path) -> str:
    return BLOCK.sub("", path.read_text())


def code(path: Path) -> str:
    """What a reader may type: blocks, indented lines, and what stands in backticks."""
    fenced = [text for _, text in BLOCK.findall(path.read_text())]
    rest = prose(path)
    indented = re.findall(r"^    .*$", rest, re.MULTILINE)
    return "\n".join([*fenced, *indented, *re.findall(r"`([^`\n]+)`", rest)])


# Pages that the models make


@pytest.mark.parametrize(("path", "text"), list(generate.pages()), ids=lambda value: getattr(value, "name", ""))
def test_generated_pages_have_not_drifted(path: Path, text: str) -> None:
    """`make docs` has nothing to write."""
    assert path.read_text() == text, "out of date: make docs"


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "steps").glob("*.more.md")), ids=lambda path: path.name)
def test_every_addition_belongs_to_a_step(path: Path) -> None:
    """An addition to a step's page does not outlive the step."""
    assert path.with_name(path.name.replace(".more.md", ".md")) in {made for made, _ in generate.pages()}


# The architecture


def test_the_layers_in_the_docs_are_those_that_are_checked() -> None:
    """docs/architecture.md shows the direction of imports that `make check` verifies, and every package has a line."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    [layers] = [each["layers"] for each in project["tool"]["importlinter"]["contracts"] if each["type"] == "layers"]
    text = (ROOT / "docs" / "architecture.md").read_text()
    assert f"`{' > '.join(layers)}`" in text
    table = text[text.index("| package |") :]
    for name in re.split(r" [>|] ", " > ".join(layers)):
        assert f"`{name}/`" in table or f"`{name}.py`" in table


def test_every_package_says_what_it_is_for_and_where_to_start() -> None:
    for path in sorted((ROOT / "mess").rglob("*/__init__.py")):
        if path.parent.name not in ("cli", "dead_letters"):
            doc = ast.get_docstring(ast.parse(path.read_text())) or ""
            assert "Start reading at `" in doc, path


# Links


def anchors(path: Path) -> set[str]:
    """GitHub's anchors of a page's headings."""
    titles = re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def links(path: Path) -> Iterator[str]:
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if not re.match(r"[a-z]+:", target):
            yield target


@page
def test_links_lead_somewhere(path: Path) -> None:
    """Every relative link names a file that is there, and a heading that it has."""
    dead = []
    for target in links(path):
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists() or (anchor and anchor not in anchors(file)):
            dead.append(target)
    assert not dead


@page
def test_paths_are_there(path: Path) -> None:
    """Every file or folder of the repository that a page names exists."""
    named = re.findall(r"`((?:tests|mess|bench|config/examples)/(?!\d)[\w/.-]*)`", prose(path))
    assert not [name for name in named if not (ROOT / name).exists()]


def test_the_architecture_names_modules_that_are_there() -> None:
    """Every `package/module.py` in docs/architecture.md is one of mess/."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"(?<![\w/.])((?:[a-z_]+/)+[a-z_]+\.py)\b", text))
    assert len(named) > 20
    assert not [name for name in named if not (ROOT / "mess" / name).exists() and not (ROOT / name).exists()]


def test_log_lines_in_the_runbook_are_what_the_log_says() -> None:
    """Operators find there what the runbook tells them to look for."""
    text = (ROOT / "docs" / "runbook.md").read_text()
    quoted = re.findall(r"\blog(?:ged)?\b[^`|.]{0,40}`([a-z][^`]* [^`]*)`", text)
    source = "\n".join(path.read_text() for path in (ROOT / "mess").rglob("*.py"))
    assert quoted
    assert not [line for line in quoted if line not in source]


def test_a_change_touches_what_contributing_says() -> None:
    """Every file that its table names exists, a new one's folder too, and an entry's place is in its file."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| .*", text[: text.index("## Document it")], re.MULTILINE)[1:]
    files = re.findall(r"`(mess/[\w/<>]+\.(?:py|js))`", "\n".join(rows))
    assert len(files) >= len(rows) == 12
    assert not [name for name in files if not (ROOT / re.sub(r"<\w+>.*", "", name)).exists()]
    for place, name in re.findall(r"`(\w+)` in `([\w/]+\.(?:py|js))`", text):
        assert re.search(rf"\b{place}\b", (ROOT / name).read_text()), name


def test_the_index_names_every_page() -> None:
    """A reader finds every page of docs/ from docs/README.md."""
    index = ROOT / "docs" / "README.md"
    named = {(index.parent / target.partition("#")[0]).resolve() for target in links(index)}
    assert {path for path in PAGES if path.is_relative_to(ROOT / "docs")} - {index} <= named


# Configs


def whole(text: str) -> str | None:
    """A block of YAML as a whole config; None for one that is something else."""
    data = yaml.safe_load(text)
    if isinstance(data, list) and "name" in data[0]:
        return "databases: {shop: {}}\npipeline:\n" + "".join(f"  {line}\n" for line in text.splitlines())
    if isinstance(data, dict) and "databases" in data:
        return text
    if isinstance(data, dict) and "pipeline" in data:
        return "databases: {shop: {}}\n" + text
    return None


def config_blocks() -> Iterator[Any]:
    for path in PAGES:
        for number, text in enumerate(blocks(path, "yaml"), 1):
            yield pytest.param(text, id=f"{path.relative_to(ROOT)}-{number}")


@pytest.mark.parametrize("text", list(config_blocks()))
def test_configs_are_valid(text: str, tmp_path: Path) -> None:
    """Every config in the docs, and every piece of one, loads."""
    config = whole(text)
    assert config is not None, "neither a config nor steps of one"
    shutil.copy(ROOT / "config" / "examples" / "my_plugins.py", tmp_path)
    for secret in re.findall(r"/run/secrets/([\w-]+)", config):
        (tmp_path / secret).write_text("secret\n")
    file = tmp_path / "config.yml"
    file.write_text(config.replace("/run/secrets/", ""))
    load(file, environ=ENVIRONMENT)


def test_the_readmes_config_has_ten_lines() -> None:
    """As its heading says."""
    first = next(blocks(ROOT / "README.md", "yaml"))
    assert len(first.splitlines()) == 10


def test_the_configs_of_the_nodejs_tool(tmp_path: Path) -> None:
    """The JavaScript config before the move is refused for its functions, the one after it loads."""
    before, after = blocks(ROOT / "docs" / "from-nodejs.md", "js")
    (tmp_path / "before.js").write_text(before)
    (tmp_path / "after.js").write_text(after)
    functions = next(blocks(ROOT / "docs" / "from-nodejs.md", "python"))
    (tmp_path / "my_plugins.py").write_text(functions)
    with pytest.raises(ConfigError) as caught:
        load(tmp_path / "before.js", environ={})
    assert [problem.path for problem in caught.value.problems] == ["plugins.dummy", "databases.test02.changeHook"]
    load(tmp_path / "after.js", environ={})


@page
def test_python_in_the_docs_compiles(path: Path) -> None:
    """No example has a slip of syntax."""
    for text in blocks(path, "python"):
        ast.parse(text)


# Commands


def commands(command: click.Command, name: str = "mess") -> dict[str, set[str]]:
    """Every command, by all its words, with its options."""
    found = {name: {option for parameter in command.params for option in parameter.opts}}
    for inner, part in getattr(command, "commands", {}).items():
        found |= commands(part, f"{name} {inner}")
    return found


@page
def test_commands_exist(path: Path) -> None:
    """Every `mess …` in the docs is a command of the command line, with options that it has."""
    known = commands(typer.main.get_command(app))
    for line in re.findall(r"(?:^|[\s/])(mess (?!mess\b)[a-z].*)", code(path), re.MULTILINE):
        words = re.sub(r"\s+(#|[(|&]).*", "", line).split()
        name = next((n for n in (" ".join(words[:3]), " ".join(words[:2])) if n in known), None)
        assert name is not None, line
        options = {word.partition("=")[0] for word in words if word.startswith("-")}
        assert options <= known[name] | {"--help", "-h"}, line


# Metrics


def metrics() -> set[str]:
    """The names of all metrics that a relay shows."""
    registry = Metrics("0")
    registry.step("default", "http")
    registry.stream("shop")
    registry.pipeline("default")
    return set(re.findall(r"^# TYPE (\w+)", registry.render().decode(), re.MULTILINE))


@page
def test_metrics_exist(path: Path) -> None:
    """Every metric in the docs is one that the relay shows."""
    named = set(re.findall(r"\bmess_[a-z_]+\b", code(path)))
    assert named <= metrics()


def test_every_metric_is_documented() -> None:
    """Operators find all of them in one table."""
    ours = {name for name in metrics() if name.startswith("mess_")}
    assert ours <= set(re.findall(r"\bmess_[a-z_]+\b", code(ROOT / "docs" / "operations.md")))
