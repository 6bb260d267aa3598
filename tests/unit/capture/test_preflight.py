"""What `mess check` finds on servers that no test can start: one that is too old for post-images."""

from __future__ import annotations

from typing import Any

import pytest

from mess.capture.plan import plan
from mess.capture.preflight import Finding, examine
from mess.config.model import Config


class OldServer:
    """A MongoDB 5.0, on which any change stream opens that it knows the options of."""

    def get_database(self, name: str) -> OldServer:
        return self

    async def command(self, command: Any) -> dict[str, Any]:
        if command == "buildInfo":
            return {"version": "5.0.31"}
        if "aggregate" in command:
            assert "whenAvailable" not in str(command)
            return {"cursor": {"id": 7, "ns": "shop.$cmd.aggregate"}}
        return {}


async def findings(**options: Any) -> list[Finding]:
    config = Config.model_validate({"databases": {"shop": {}}, "pipeline": [{"name": "log"}], **options})
    return [each async for each in examine(OldServer(), {"msg": "isdbgrid"}, plan(config), None)]


@pytest.mark.parametrize(
    "options",
    [
        {"full_document": "exact"},
        {"full_document": "when_available"},
        {"full_document": "required"},
        {"full_document_before_change": "when_available"},
    ],
)
async def test_post_images_on_a_server_before_6_0_are_refused_with_the_remedy(options: dict[str, str]) -> None:
    *_, last = await findings(**options)
    assert not last.ok
    assert last.what == (
        "change stream shop asks for pre- or post-images, which MongoDB has from 6.0 on; this is 5.0.31"
    )
    assert "update_lookup or off" in last.remedy


async def test_without_images_an_old_server_will_do() -> None:
    assert [each.ok for each in await findings(full_document="update_lookup")] == [True, True]
