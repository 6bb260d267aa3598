"""State and configs of an earlier version, recorded while it ran, and what that version read in them.

Later versions must take them over. `__main__` records them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bson import json_util
from pymongo.database import Database

FILES = Path(__file__).parent / "files"
CONFIGS = ("relay.yml", "sample.js")
STATE = "recorded_state"
"""The MongoDB database that the configs name for the state."""
STORES = ("mongodb", "sqlite")


def configs_in(folder: Path, environ: Mapping[str, str]) -> None:
    """Make a folder with the configs, their functions, and the environment that they need."""
    shutil.copytree(FILES, folder, ignore=shutil.ignore_patterns("*.json", "*.db"))
    (folder / ".env").write_text("".join(f"{name}={value}\n" for name, value in environ.items()))


def restore(database: Database[dict[str, Any]]) -> None:
    """Put the state that was recorded in MongoDB into a database."""
    for name, found in json_util.loads((FILES / "mongodb.json").read_text()).items():
        for keys in found["indexes"]:
            database[name].create_index([tuple(key) for key in keys])
        if found["documents"]:
            database[name].insert_many(found["documents"])


def read() -> dict[str, Any]:
    """What that version read, as `plain` writes it: `states` by store and config, and `configs`."""
    found: dict[str, Any] = json.loads((FILES / "read.json").read_text())
    return found


def plain(value: Any) -> Any:
    """A value with BSON types as canonical Extended JSON, which tells all types apart."""
    return json.loads(json_util.dumps(value, json_options=json_util.CANONICAL_JSON_OPTIONS))
