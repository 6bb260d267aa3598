"""Which options hold for a namespace: the most specific scope that says something wins."""

from __future__ import annotations

from typing import Any

import pytest

from mess.config.model import ALL_OPERATIONS, Config
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
        (("shop", "log_a"), {"pipeline": "default", "concurrency": 2, "full_document": "off"}),
        (("shop",), {"pipeline": "default", "operations": ALL_OPERATIONS, "full_document": "update_lookup"}),
        (("tenant_2", "any"), {"pipeline": "tenant_*", "order": "document"}),
        (("tenant_1", "any"), {"pipeline": "default"}),
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
    assert steps == {"default": ["log"], "shop.orders": ["a", "b"], "hooked": [HOOK + "m:f"], "tenant_*": ["t"]}
