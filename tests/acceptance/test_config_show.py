"""`mess config show` as a user types it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.acceptance.commands import mess

CONFIG = """\
mongodb:
  url: mongodb://root:hush-hush@127.0.0.1:1/?replicaSet=rs0
databases:
  shop:
    operations: [insert, update]
    collections:
      orders:
        full_document: exact
        pipeline:
          - name: http
            config: {endpoint: "https://example.com/hooks/T0123456789"}
      "\\e]0;title\\a": {}
pipeline: [log]
"""
SHOWN = """\
mongodb:
  url: mongodb://***@127.0.0.1:1/?replicaSet=rs0  # config.yml:2
databases:
  shop:
    operations: [insert, update]                  # config.yml:5
    collections:
      orders:
        full_document: exact                      # config.yml:8
        pipeline:
          - name: http                            # config.yml:10
            config:
              endpoint: https://example.com***    # config.yml:11
      "\\e]0;title\\a": {}                          # config.yml:12
pipeline:
  - name: log                                     # config.yml:13
"""
OF_ORDERS = """\
# shop.orders: pipeline 'shop.orders', change stream 'shop'
pipeline:
  - name: http                          # config.yml:10
    config:
      endpoint: https://example.com***  # config.yml:11
operations: [insert, update]            # config.yml:5
full_document: exact                    # config.yml:8
full_document_before_change: 'off'      # default
backfill: never                         # default
order: document                         # default
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a config whose MongoDB is not there."""
    (tmp_path / "config.yml").write_text(CONFIG)
    return tmp_path


async def test_every_value_is_shown_with_its_origin_and_without_secrets(folder: Path) -> None:
    done = await mess("config", "show", "--config", "config.yml", folder=folder)
    assert (done.stdout, done.stderr, done.returncode) == (SHOWN, "", 0)

    done = await mess("config", "show", "--config", "config.yml", "--all", folder=folder)
    assert done.stdout.startswith(SHOWN[: SHOWN.index("  #")])
    assert "  port: 3000 " in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100


async def test_what_applies_to_a_collection(folder: Path) -> None:
    done = await mess("config", "show", "--config", "config.yml", "--collection", "shop.orders", folder=folder)
    assert (done.stdout, done.stderr, done.returncode) == (OF_ORDERS, "", 0)

    done = await mess("config", "show", "--config", "config.yml", "--collection", "shop.carts", folder=folder)
    assert (done.stdout, done.returncode) == ("", 2)
    assert "the config does not select shop.carts" in done.stderr


async def test_the_example_in_the_docs_is_what_is_shown(tmp_path: Path) -> None:
    page = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()
    [config] = re.findall(r"^```yaml\n(mongodb:.*?)^```$", page, re.MULTILINE | re.DOTALL)
    [shown] = re.findall(r"^```\n(mongodb:.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.yml").write_text(config)
    variables = {
        "MONGODB_URL": "mongodb://relay:hush-hush@db.example.com/?replicaSet=rs0",
        "WEBHOOK_URL": "https://hooks.example.com/services/T0123456789",
    }
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    done = await mess("config", "show", folder=tmp_path)
    assert (done.stdout, done.returncode) == (shown, 0)


async def test_as_json(folder: Path) -> None:
    done = await mess("config", "show", "--config", "config.yml", "--json", folder=folder)
    found = {each.pop("path"): each for each in json.loads(done.stdout)}
    about = {"source": "file", "file": "config.yml", "line": 8, "variables": []}
    assert found["databases.shop.collections.orders.full_document"] == {"value": "exact", **about}
    assert "name" not in found

    shop = await mess(
        "config", "show", "--config", "config.yml", "--json", "--collection", "shop.orders", folder=folder
    )
    answer = json.loads(shop.stdout)
    assert (answer["pipeline"], answer["stream"]) == ("shop.orders", "shop")
    paths = {each["path"] for each in answer["options"]}
    assert {"databases.shop.operations", "databases.shop.collections.orders.pipeline[0].name"} <= paths


async def test_mistakes_are_reported_as_usual(folder: Path) -> None:
    (folder / "config.yml").write_text("databases: {}\npipelin: [log]\n")
    done = await mess("config", "show", "--config", "config.yml", folder=folder)
    assert (done.stdout, done.returncode) == ("", 2)
    assert "config.yml:2: pipelin" in done.stderr
