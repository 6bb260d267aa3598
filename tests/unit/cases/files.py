"""A config and cases, each as a user writes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mess.cases.case import Case, read
from mess.cases.run import Result, run_all
from mess.config.load import load
from mess.relay.build import build_pipelines

CONFIG = """
databases:
  shop:
    collections:
      orders: {}
      items:
        pipeline: [grow, {name: queue, config: {url: "redis://localhost:1", key: "{n}", headers: {X-N: "{n}"}}}]
pipeline:
  - name: filter
    config: {when: "event.fullDocument.total >= 100"}
  - name: field-map
    config: {fields: {order: documentKey._id, total: fullDocument.total}}
  - name: http
    config: {endpoint: "https://example.com/{db}/{order}", headers: {X-Shop: one, X-Api-Key: s3same}}
plugins: {grow: "my_case_functions:grow"}
"""
FUNCTIONS = """
import mess

def grow(input, config, context):
    n = input["fullDocument"]["n"]
    if n == 13:
        raise ValueError("thirteen")
    if n == 14:
        raise mess.EndpointDown("asleep")
    if n == 15:
        return {"n": object()}
    return {"n": n + 1}
"""


def reading(text: str, name: str = "case.yml", *, config: str = CONFIG, update: bool = False) -> Case | list[str]:
    """The case with this text, or its problems."""
    Path("config.yml").write_text(config)
    Path(name).write_text(text)
    loaded = load("config.yml", environ={})
    case, problems = read(Path(name), loaded, build_pipelines(loaded), update=update)
    assert (case is None) == bool(problems)
    return case or list(map(str, problems))


async def result_of(text: str, name: str = "case.yml", *, config: str = CONFIG, update: bool = False) -> Result:
    """The result of the case with this text."""
    case = reading(text, name, config=config, update=update)
    assert isinstance(case, Case), case
    loaded = load("config.yml", environ={})
    [result] = await run_all([case], build_pipelines(loaded), loaded.config)
    return result


def order(total: int, number: int = 1, **more: Any) -> str:
    """An event, as a line of a case."""
    fields = {"operationType": "insert", "ns": "{db: shop, coll: orders}", **more}
    fields |= {"documentKey": f"{{_id: {number}}}", "fullDocument": f"{{total: {total}}}"}
    return f"  - {{{', '.join(f'{name}: {value}' for name, value in fields.items())}}}\n"


def item(n: int) -> str:
    """An event of the other pipeline."""
    return f"  - {{operationType: insert, ns: {{db: shop, coll: items}}, fullDocument: {{n: {n}}}}}\n"
