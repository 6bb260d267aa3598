"""Steps of installed packages behave like those that come with MESS, and a broken package is told by its name."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from mess import registry
from mess.config.load import Loaded, load
from mess.config.pipelines import shadowed
from mess.config.schema import json_schema
from mess.errors import ConfigError
from mess.relay.build import build_step, describe_step
from tests.distribution import install

TAG = """
from typing import ClassVar
from mess import StepConfig, Transform

class TagConfig(StepConfig):
    name: ClassVar[str] = "{name}"
    tag: str
    "What to write."

    def build(self, context):
        return Tag()

class Tag(Transform):
    def apply(self, event):
        return event
"""


def loads(*pipeline: Any, **options: Any) -> Loaded:
    text = json.dumps({"databases": {"shop": {}}, "pipeline": pipeline, **options})
    Path("config.yml").write_text(text)
    return load("config.yml", environ={})


def problems(*pipeline: Any, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loads(*pipeline, **options)
    return [str(problem) for problem in caught.value.problems]


def good(site: Path, name: str = "tag", package: str = "acme-steps") -> None:
    module = package.replace("-", "_")
    install(site, package, {"mess.steps": {name: f"{module}:TagConfig"}}, {f"{module}.py": TAG.replace("{name}", name)})


def test_it_is_built_like_any_other(site: Path) -> None:
    good(site)
    loaded = loads({"name": "tag", "config": {"tag": "new"}})
    assert loaded.warnings == ()
    [spec] = loaded.config.pipeline or ()
    assert type(build_step(spec, loaded)).__name__ == "Tag"
    assert describe_step(spec, {}) == "tag"


def test_its_options_are_checked_in_their_place(site: Path) -> None:
    good(site)
    assert problems({"name": "tag", "config": {"tagg": "new", "tag": "x"}}) == [
        'config.yml:1: pipeline[0].config.tagg: unknown key; did you mean "tag"?'
    ]
    assert problems("log", "tag") == ["config.yml:1: pipeline[1].config.tag: is missing"]
    assert problems({"name": "tag", "tag": "x", "config": {"tag": "x"}}) == [
        "config.yml:1: pipeline[0].tag: unknown key; it belongs under config, as in config: {tag: …}"
    ]


def test_its_name_is_suggested(site: Path) -> None:
    good(site)
    assert problems("tagg") == ['config.yml:1: pipeline[0]: unknown step "tagg"; did you mean "tag"?']
    assert "field-map" in problems("qqqq")[0]
    assert " tag," in problems("qqqq")[0]


def test_editors_know_it_but_the_schema_that_comes_with_mess_does_not(site: Path) -> None:
    good(site)
    install(site, "broken", {"mess.steps": {"other": "nowhere:Config"}})
    schema = json_schema(installed=True)
    assert schema["$defs"]["tag"]["properties"]["tag"]["description"] == "What to write."
    assert "other" not in schema["$defs"]
    assert "tag" not in json_schema()["$defs"]


@pytest.mark.parametrize(
    ("files", "value", "message"),
    [
        ({"bad.py": "import nothing_of_the_kind"}, "bad:X", "ModuleNotFoundError: No module named"),
        ({"bad.py": "raise SystemExit(3)"}, "bad:X", "SystemExit: 3"),
        ({"bad.py": "def"}, "bad:X", "SyntaxError"),
        ({"bad.py": ""}, "bad:X", "AttributeError: module 'bad' has no attribute 'X'"),
        ({"bad.py": "X = 5"}, "bad:X", "bad:X is not a class that derives from mess.StepConfig"),
        ({"bad.py": "class X: pass"}, "bad:X", "bad:X is not a class that derives from mess.StepConfig"),
        ({"bad.py": "X = 5"}, "bad", "bad is not a class that derives from mess.StepConfig"),
        ({"bad.py": TAG.replace("{name}", "other")}, "bad:TagConfig", "must have the same name"),
        ({"bad.py": "import mess\nclass X(mess.StepConfig): pass"}, "bad:X", "must have the same name"),
    ],
)
def test_a_broken_package_is_told_by_its_name_when_its_step_is_used(
    site: Path, files: dict[str, str], value: str, message: str
) -> None:
    """And only then: a config that does not use it loads, and nothing of the package is imported."""
    install(site, "acme-steps", {"mess.steps": {"tag": value}}, files, version="2.3")
    loads("log")
    assert "bad" not in sys.modules
    (problem,) = problems("tag")
    assert problem.startswith(
        'config.yml:1: pipeline[0]: the step "tag" of the package acme-steps 2.3 cannot be used: '
    )
    assert message in problem


def test_two_packages_with_one_name(site: Path) -> None:
    good(site)
    good(site, package="other-steps")
    (problem,) = problems("tag")
    assert "acme-steps 1.0 and other-steps 1.0; uninstall all but one" in problem
    loads("log")


def test_a_step_that_comes_with_mess_goes_before_a_packages(site: Path) -> None:
    good(site, name="log")
    loaded = loads({"name": "log", "config": {}})
    assert list(shadowed(loaded.tree)) == ["the log step is MESS's own, not the one of the package acme-steps 1.0"]


def test_a_plugin_of_the_config_goes_before_a_packages_step(site: Path) -> None:
    good(site)
    Path("my_plugins.py").write_text("def tag(input, config, context): return input\n")
    loaded = loads({"name": "tag", "config": {"anything": 1}}, plugins={"tag": "my_plugins:tag"})
    assert [str(warning) for warning in loaded.warnings] == [
        "config.yml:1: plugins.tag: replaces the tag step of the package acme-steps 1.0"
    ]


def test_packages_are_not_looked_for_without_need(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relay with none but MESS's own steps starts without reading the metadata of all that is installed."""
    monkeypatch.setattr(registry, "entry_points", lambda **_: pytest.fail("looked for packages"))
    loads("log", {"name": "http", "config": {"endpoint": "http://x/"}})
