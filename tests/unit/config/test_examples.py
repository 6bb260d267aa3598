"""The config files that come with MESS load, and do what they say."""

from __future__ import annotations

from pathlib import Path

import pytest

from mess.config.load import load
from mess.config.scope import HOOK, resolve
from mess.config.starter import template
from tests.unit.config.conftest import Load

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "config" / "config.yml"
EXAMPLES = sorted(file for file in (ROOT / "config" / "examples").iterdir() if file.suffix in (".yml", ".js", ".json"))
PASSED_OVER = "the log step has no such option; ignored"


@pytest.mark.parametrize("path", [CONFIG, *EXAMPLES], ids=lambda path: path.name)
def test_example_loads_without_anything_set(path: Path) -> None:
    """And without warnings, but for the Node.js tool's sample, which names an option that nothing ever read."""
    loaded = load(path, environ={})
    assert {warning.message for warning in loaded.warnings} <= {PASSED_OVER}
    assert not loaded.warnings or path.name.startswith("nodejs-sample")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_example_says_what_it_is_for(path: Path) -> None:
    text = path.read_text()
    assert text.startswith(("# ", "// "))


def test_the_shipped_config_logs_and_needs_no_endpoint() -> None:
    config = load(CONFIG, environ={}).config
    assert list(config.databases) == ["test-db"]
    assert [step.name for step in config.pipeline or ()] == ["log"]
    assert CONFIG.read_text().startswith("# yaml-language-server: $schema=mess.schema.json\n")


def test_the_nodejs_sample_is_the_same_in_both_formats() -> None:
    js, yml = (load(ROOT / f"config/examples/nodejs-sample.{suffix}", environ={}) for suffix in ("js", "yml"))
    assert js.tree == yml.tree
    assert js.config == yml.config
    assert [step.name for step in js.config.pipeline or ()] == ["log", "http", "dummy"]


def test_the_hook_takes_the_pipelines_place() -> None:
    options = resolve(load(ROOT / "config/examples/change-hook.js", environ={}).config, "shop", "orders")
    assert options is not None
    assert options.pipeline.steps[0].name == HOOK + "my_plugins:change_hook"


def test_the_template_works_as_it_is(loads: Load) -> None:
    assert loads(template()).warnings == ()


def test_the_templates_options_work_when_their_marks_are_taken_out(loads: Load) -> None:
    """Every commented option is one that exists."""
    Path("my_plugins.py").write_text("def enrich(input, config, context): return input\n")
    lines = template().splitlines()
    options = [line.replace("# ", "", 1) if _is_option(line) else line for line in lines]
    loaded = loads("\n".join(options))
    assert [step.name for step in loaded.config.pipeline or ()] == ["log", "field-map", "http"]
    assert loaded.config.state.url == "sqlite:///mess.db"
    assert "orders" in loaded.config.databases["shop"].collections


def _is_option(line: str) -> bool:
    text = line.strip().removeprefix("# ").lstrip()
    key = text.removeprefix("- ").partition(":")[0]
    return line.strip().startswith("# ") and key.replace("_", "").isalpha() and " " not in key and key.islower()
