"""Which dead letters a command is about: the options that all of them share."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from mess.cli.times import moment
from mess.errors import ConfigError

if TYPE_CHECKING:
    from mess.state.records import Pointer, Wanted


def _option(*names: str, help: str) -> typer.models.OptionInfo:  # noqa: A002 - typer's word
    found: typer.models.OptionInfo = typer.Option(*names, help=help, show_default=False)
    return found


Ids = Annotated[list[str] | None, typer.Argument(help="Only these events.", metavar="[ID]...", show_default=False)]
Pipeline = Annotated[str | None, _option("--pipeline", help="Only this pipeline's.")]
Step = Annotated[str | None, _option("--step", help="Only those that failed at this step.")]
OfNamespace = Annotated[
    str | None, _option("--namespace", help="Only this database's, or database.collection's; globs are allowed.")
]
Since = Annotated[
    datetime | None,
    typer.Option(help="Only those given up on since: an ISO time, or an age like 2h.", parser=moment, metavar="TIME"),
]
Until = Annotated[
    datetime | None,
    typer.Option(help="Only those given up on until: an ISO time, or an age like 2h.", parser=moment, metavar="TIME"),
]
Reason = Annotated[str | None, _option("--reason", help="Only those whose reason contains this text.")]
All = Annotated[bool, typer.Option("--all", help="All dead letters, where nothing else says which.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")]


def choose(
    ids: list[str] | None,
    pipeline: str | None,
    step: str | None,
    namespace: str | None,
    since: datetime | None,
    until: datetime | None,
    reason: str | None,
) -> Wanted:
    """The letters that the options ask for."""
    from mess.state.records import Wanted

    return Wanted(pipeline, step, namespace, since, until, reason, tuple(ids) if ids else None)


def demand(wanted: Wanted, everything: bool) -> None:
    """Make sure that a command is not about all letters by mistake. Raises ConfigError."""
    if wanted.everything and not everything:
        raise ConfigError("say which: ids, or --pipeline, --step, --namespace, --since, --until, --reason; or --all")
    if everything and not wanted.everything:
        raise ConfigError("--all contradicts the other options; leave it out, or them")


def all_found(wanted: Wanted, pointers: Iterable[Pointer]) -> None:
    """Make sure that every id asked for is there. Raises ConfigError that names the others."""
    if missing := [each for each in wanted.ids or () if each not in {pointer.id for pointer in pointers}]:
        raise ConfigError(
            f"no dead letter {', '.join(missing)}{' that matches' if len(_filters(wanted)) > 1 else ''}; "
            "`mess dead-letters list` shows them"
        )


def _filters(wanted: Wanted) -> list[str]:
    return [name for name in wanted.__slots__ if getattr(wanted, name) is not None]


def letters(count: int) -> str:
    """`1 dead letter`, `2 dead letters`."""
    return f"{count} dead letter{'' if count == 1 else 's'}"
