"""From a config's streams to the parts of them that somebody asks for."""

from __future__ import annotations

from typing import Any

import pytest

from mess.capture.plan import StreamPlan, plan
from mess.capture.selection import Narrowing
from mess.config.model import Config
from mess.errors import ConfigError
from mess.event import Namespace
from mess.replay.filter import narrow

SHOP_AND_CRM: dict[str, Any] = {"shop": {"collections": {"orders": {}, "customers": {}}}, "crm": {}}


def narrowed(
    databases: dict[str, Any], *, dbs: tuple[str, ...] = (), colls: tuple[str, ...] = ()
) -> dict[str, StreamPlan]:
    plans = plan(Config.model_validate({"databases": databases, "pipeline": ["log"]}))
    return {each.name: each for each in narrow(plans, Narrowing(dbs, colls))}


def test_nothing_chosen_is_everything() -> None:
    """The plans stay as they are, and so their queries do."""
    plans = plan(Config.model_validate({"databases": SHOP_AND_CRM, "pipeline": ["log"]}))
    assert narrow(plans, Narrowing()) == plans


@pytest.mark.parametrize(
    ("dbs", "colls", "streams"),
    [
        (("shop",), (), {"shop"}),
        (("s*", "crm"), (), {"shop", "crm"}),
        ((), ("orders",), {"shop", "crm"}),  # all of crm is watched, and it may have a collection of this name
        ((), ("shop.orders",), {"shop", "crm"}),  # or one of this
        (("shop",), ("cust*",), {"shop"}),
    ],
)
def test_streams_that_give_none_of_it_are_not_opened(
    dbs: tuple[str, ...], colls: tuple[str, ...], streams: set[str]
) -> None:
    assert set(narrowed(SHOP_AND_CRM, dbs=dbs, colls=colls)) == streams


@pytest.mark.parametrize(
    ("databases", "dbs", "colls", "text"),
    [
        (SHOP_AND_CRM, ("shops",), (), r"no database 'shops'; it watches: shop\.orders, shop\.customers, crm\.\*"),
        (SHOP_AND_CRM, ("shop", "t*"), (), r"no database 't\*'"),
        (SHOP_AND_CRM, ("shop",), ("carts",), r"no collection 'carts'; it watches: shop\.orders, shop\.customers$"),
        ({"shop": {"collections": {"orders": {}}}}, (), ("crm.orders",), "no collection 'crm.orders'"),
        ({"tenant_*": {}}, ("crm",), (), r"it watches: tenant_\*\.\*"),
    ],
)
def test_what_the_config_does_not_watch_is_told(
    databases: dict[str, Any], dbs: tuple[str, ...], colls: tuple[str, ...], text: str
) -> None:
    """With what it does."""
    with pytest.raises(ConfigError, match=text):
        narrowed(databases, dbs=dbs, colls=colls)


@pytest.mark.parametrize(
    ("dbs", "colls", "namespace", "chosen"),
    [
        (("shop",), (), ("shop", "orders"), True),
        (("shop",), (), ("shop", ""), True),
        (("shop",), (), ("crm", "orders"), False),
        (("tenant_*",), (), ("tenant_1", "orders"), True),
        ((), ("orders",), ("shop", "orders"), True),
        ((), ("orders",), ("crm", "orders"), True),
        ((), ("shop.orders",), ("shop", "orders"), True),
        ((), ("shop.orders",), ("crm", "orders"), False),
        ((), ("*.orders",), ("crm", "orders"), True),
        ((), ("sh*",), ("shop", "orders"), False),
        ((), ("fs.files",), ("shop", "fs.files"), True),
        ((), ("shop.fs.files",), ("shop", "fs.files"), True),
        ((), ("orders",), ("shop", ""), False),
        ((), ("*",), ("shop", ""), False),
        (("crm",), ("orders",), ("shop", "orders"), False),
    ],
)
def test_which_namespaces_are_chosen(
    dbs: tuple[str, ...], colls: tuple[str, ...], namespace: tuple[str, str], chosen: bool
) -> None:
    """Events of a whole database are no collection's."""
    assert Narrowing(dbs, colls).selects(Namespace(*namespace)) is chosen


def test_a_narrowed_stream_selects_what_the_config_and_the_choice_select() -> None:
    [stream] = narrowed({"shop": {"collections": {"orders": {}, "customers": {}}}}, colls=("o*", "customers")).values()
    assert stream.selection.selects(Namespace("shop", "orders"))
    assert not stream.selection.selects(Namespace("shop", "others"))


def test_mongodb_evaluates_the_choice_beside_the_configs_own_query() -> None:
    """What closes a stream is always seen; so is a rename into a collection."""
    [stream] = narrowed({"shop": {"collections": {"orders": {}, "customers": {}}}}, colls=("orders",)).values()
    assert stream.match is not None
    of_config, of_choice = stream.match["$and"]
    both = {"$literal": ["orders", "customers"]}
    assert of_config["$or"][1] == {"$or": [{"$expr": {"$in": [path, both]}} for path in ("$ns.coll", "$to.coll")]}
    assert of_choice == {
        "$or": [
            {"operationType": {"$in": ["dropDatabase", "invalidate"]}},
            {"$and": [{"$or": [{"ns.coll": {"$in": ["orders"]}}]}]},
            {"$and": [{"$or": [{"to.coll": {"$in": ["orders"]}}]}]},
        ]
    }
