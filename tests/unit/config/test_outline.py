"""The effective config as YAML."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from mess.config.effective import effective
from mess.config.outline import outline
from tests.unit.config.conftest import Load

CONFIG: dict[str, Any] = {
    "name": "shopper",
    "databases": {
        "on": {},
        "a*": {"match": {"$or": [{"ns.coll": "x"}, {"operationType": {"$in": ["insert", "update"]}}]}},
        "shop": {
            "collections": {
                "a: b # c": {"full_document": "off", "order": {"by": "fullDocument.x"}},
                "orders": {"pipeline": [{"name": "log"}, {"name": "http", "config": {"endpoint": "http://x.test/h"}}]},
            }
        },
    },
    "pipeline": [{"name": "log", "retry": {"cap": "1s"}}],
    "admin": {"hosts": ["a.test", "b.test"]},
}


def test_it_is_the_config_again(loads: Load) -> None:
    """What is shown, without defaults, can be read as a config with the same values."""
    values = effective(loads(yaml.safe_dump(CONFIG, sort_keys=False)))
    text = "\n".join(line for line, _ in outline(value for value in values if value.source != "default"))
    assert yaml.safe_load(text) == CONFIG


def test_with_its_defaults_it_is_a_config_of_the_same_meaning(loads: Load) -> None:
    loaded = loads(yaml.safe_dump(CONFIG))
    text = "\n".join(line for line, _ in outline(effective(loaded)))
    again = loads(text.replace("changeHook: null\n", ""))
    assert {value.path: value.value for value in effective(again)} == {
        value.path: value.value for value in effective(loaded)
    }


@pytest.mark.parametrize("value", ["no", "3", "*x", "a: b", "- a", "a #b", "", " ", "l1\nl2", "{", "null", 1.5, True])
def test_a_value_keeps_its_type_and_its_line(loads: Load, value: Any) -> None:
    text = yaml.safe_dump({"databases": {"shop": {"match": {"fullDocument.x": value}}}, "pipeline": ["log"]})
    lines = [line for line, _ in outline(effective(loads(text)))]
    assert all("\n" not in line for line in lines)
    assert yaml.safe_load("\n".join(lines))["databases"]["shop"]["match"] == {"fullDocument.x": value}
