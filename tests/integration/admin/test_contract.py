"""The API keeps to its own OpenAPI document, whatever it is sent."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

CHECKS = (
    "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
    "negative_data_rejection,unsupported_method,ignored_auth"
)
TOKEN = "correct horse battery"


async def test_answers_are_as_the_openapi_document_says(running: Callable[..., Any], tmp_path: Path) -> None:
    """Schemathesis sends what the document allows, and much that it does not."""
    async with running(admin={"port": 0, "token": TOKEN}) as (_, api):
        arguments = ("run", f"{api.url}/openapi.json", "--checks", CHECKS, "--no-color", "--seed", "1")
        arguments += ("--phases", "coverage", "--continue-on-failure")
        arguments += ("--exclude-path", "/events")  # a live tail has no end
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "schemathesis.cli",
            *arguments,
            "-H",
            f"Authorization: Bearer {TOKEN}",
            cwd=tmp_path,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        said, _ = await process.communicate()
        assert process.returncode == 0, said.decode()
        assert (await api.get("/status"))[0] == 200
