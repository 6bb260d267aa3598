"""Which options hold for a namespace: the most specific scope that says something wins."""

from __future__ import annotations

from typing import Any

import pytest

from mess.config.model import Config
from mess.config.scope import HOOK, pipelines, resolve

CONFIG = Config.model_validate(
    {
        "pipeline": ["log"],
        "concurrency": 2,
        "databases": {
            "shop": {
                "order": "none",
                "collections": {
                    "orders": {"pipeline": ["a", "b"], "concurrency": 3},
                    "log_*": {"full_document": "off"},
                },
            },
            "hooked": {"changeHook": "m:f", "collections": {"x": {"pipeline": ["c"]}}},
            "tenant_*": {"pipeline": ["t"]},
            "tenant_1": {},
        },
    }
)


@pytest.mark.parametrize(
    ("namespace", "expected"),
    [
        (("shop", "orders"), {"pipeline": "shop.orders", "concurrency": 3, "order": "none"}),
        (("shop", "log_a"), {"pipeline": "top level", "concurrency": 2, "full_document": "off"}),
        (("shop",), {"pipeline": "top level", "operations": None, "full_document": "update_lookup"}),
        (("tenant_2", "any"), {"pipeline": "tenant_*", "order": "document"}),
        (("tenant_1", "any"), {"pipeline": "top level"}),
        (("hooked", "x"), {"pipeline": "hooked"}),
    ],
)
def test_the_most_specific_scope_wins(namespace: tuple[str, ...], expected: dict[str, Any]) -> None:
    options = resolve(CONFIG, *namespace)
    assert options is not None
    pipeline = expected.pop("pipeline")
    assert options.pipeline.name == pipeline
    assert {key: getattr(options, key) for key in expected} == expected


@pytest.mark.parametrize("namespace", [("other",), ("shop", "other"), ("hooked", "y")])
def test_what_no_scope_selects_has_no_options(namespace: tuple[str, ...]) -> None:
    assert resolve(CONFIG, *namespace) is None


def test_every_pipeline_is_found_once() -> None:
    steps = {spec.name: [step.name for step in spec.steps] for spec in pipelines(CONFIG)}
    assert steps == {"top level": ["log"], "shop.orders": ["a", "b"], "hooked": [HOOK + "m:f"], "tenant_*": ["t"]}


def test_a_database_may_have_any_name_without_getting_in_the_way_of_the_top_level() -> None:
    """Each pipeline is known by its scope's name, so no database's name may be that of the top level."""
    config = Config.model_validate(
        {
            "databases": {"default": {"pipeline": [{"name": "log"}]}, "shop": {}},
            "pipeline": [{"name": "log"}, {"name": "http", "config": {"endpoint": "http://localhost/"}}],
        }
    )
    found = {spec.name: [step.name for step in spec.steps] for spec in pipelines(config)}
    assert found == {"default": ["log"], "top level": ["log", "http"]}
