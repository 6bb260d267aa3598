"""What the admin API shows of the config in force is looked up once, not for each answer."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

from mess.admin.api.layout import layout
from mess.admin.api.relay import ApiRelay
from mess.capture.plan import plan
from mess.config.model import Config


class FakeRelay:
    def __init__(self, config: Config) -> None:
        self.put_in_force(config)

    def put_in_force(self, config: Config) -> None:
        self.loaded = SimpleNamespace(config=config)
        self.plans = plan(config)


def config(endpoint: str) -> Config:
    http: dict[str, Any] = {"name": "http", "config": {"endpoint": endpoint}}
    return Config.model_validate(
        {"databases": {"shop": {"collections": {"orders": {"pipeline": ["log", http]}, "customers": {}}}}}
    )


def test_it_is_made_anew_only_when_another_config_is_in_force() -> None:
    relay = FakeRelay(config("http://a.example/hook"))
    known = layout(cast(ApiRelay, relay))
    assert layout(cast(ApiRelay, relay)) is known
    [stream] = known.watches
    assert sorted(known.watches[stream]) == ["shop.customers", "shop.orders"]
    assert known.pipelines[stream] == ["shop.orders"]
    assert known.streams == {"shop.orders": [stream]}
    assert [kind for kind, _ in known.steps["shop.orders"]] == ["log", "http"]
    assert "a.example" in known.steps["shop.orders"][1][1]

    relay.put_in_force(config("http://b.example/hook"))
    assert "b.example" in layout(cast(ApiRelay, relay)).steps["shop.orders"][1][1]


def test_other_streams_of_the_same_config_are_noticed() -> None:
    relay = FakeRelay(config("http://a.example/hook"))
    assert layout(cast(ApiRelay, relay)).watches
    relay.plans = []
    assert layout(cast(ApiRelay, relay)).watches == {}
