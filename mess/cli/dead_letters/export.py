"""`mess dead-letters export`: write dead letters to a file."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from mess.cli.common import ConfigOption, UrlOption, load_config, run_async, say
from mess.cli.connecting import TimeoutOption
from mess.cli.dead_letters.choice import Choice, choosing, letters
from mess.cli.dead_letters.group import group
from mess.cli.dead_letters.listing import shape
from mess.cli.progress import progress
from mess.cli.state import with_store
from mess.errors import ConfigError
from mess.files import open_private

if TYPE_CHECKING:
    from mess.state.store import StateStore


class Json(StrEnum):
    """The two modes of MongoDB Extended JSON v2."""

    canonical = "canonical"
    relaxed = "relaxed"


@group.command()
@choosing
def export(
    choice: Choice,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="The file to write; it is overwritten. Default: standard output.", show_default=False
        ),
    ] = None,
    json: Annotated[
        Json,
        typer.Option(help="MongoDB Extended JSON: canonical keeps every type, relaxed is easier to read."),
    ] = Json.canonical,
    config: ConfigOption = None,
    url: UrlOption = None,
    timeout: TimeoutOption = None,
) -> None:
    """Write complete dead letters as JSON lines, the oldest change first. Nothing is deleted."""
    loaded = load_config(config, mongodb__url=url)

    async def write(store: StateStore) -> tuple[int, list[str]]:
        from bson import json_util

        from mess.state.letters import DamagedLetter

        options = json_util.CANONICAL_JSON_OPTIONS if json is Json.canonical else json_util.RELAXED_JSON_OPTIONS
        pointers = await store.pointers(await choice.find(store, loaded.config))
        choice.all_found(pointers)
        written, damaged = 0, []
        with _opened(output) as file, progress("exporting", letters(len(pointers)), len(pointers)) as bar:
            for pointer in pointers:
                try:
                    letter = await store.dead_letter(pointer.id)
                except DamagedLetter as error:
                    damaged.append(str(error))
                else:
                    if letter is not None:
                        file.write(json_util.dumps(shape(letter), json_options=options) + "\n")
                        written += 1
                bar.advance(1)
        return written, damaged

    written, damaged = run_async(with_store(loaded, write, timeout))
    say(f"{letters(written)} exported", err=True)
    for problem in damaged:
        say(problem, err=True)
    if damaged:
        raise typer.Exit(1)


def _opened(path: Path | None) -> nullcontext[TextIO] | TextIO:
    if path is None:
        return nullcontext(sys.stdout)
    try:
        return open(path, "w", encoding="utf-8", opener=lambda name, _: open_private(name))
    except OSError as error:
        raise ConfigError(f"--output: {path} cannot be written: {error.strerror}") from error
