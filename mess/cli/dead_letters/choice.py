"""Selects the dead letters for a command: the options that all these commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import wraps
from inspect import Signature, signature
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mess.cli.times import moment
from mess.commands import command
from mess.errors import ConfigError

if TYPE_CHECKING:
    from mess.config.model import Config
    from mess.state.records import Pointer, Wanted
    from mess.state.store import StateStore


def _option(*names: str, help: str) -> typer.models.OptionInfo:  # noqa: A002 - typer's word
    found: typer.models.OptionInfo = typer.Option(*names, help=help, show_default=False)
    return found


All = Annotated[bool, typer.Option("--all", help="All dead letters; not together with other filters.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]


@dataclass(frozen=True)
class Choice:
    """The letters selected for a command. `keys` are texts that name documents; resolving them takes a look at the
    letters, see `find`."""

    wanted: Wanted
    keys: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        """Whether all dead letters are selected."""
        return self.wanted.everything and not self.keys

    @property
    def one_by_one(self) -> bool:
        """Whether letters are named, by their ids or their documents."""
        return bool(self.wanted.ids or self.keys)

    def of_any_pipeline(self) -> Choice:
        """The same without the filter on the pipeline."""
        return replace(self, wanted=replace(self.wanted, pipeline=None))

    def demand(self, everything: bool) -> None:
        """Make sure that a command does not select all letters by mistake. Raises ConfigError."""
        if self.everything and not everything:
            raise ConfigError(
                "choose which: ids, or --key, --pipeline, --step, --namespace, --since, --until, --reason; or --all"
            )
        if everything and not self.everything:
            raise ConfigError("--all contradicts the other options; remove either")

    async def find(self, store: StateStore, config: Config) -> Wanted:
        """Build the query for the store. Raises StateError, and ConfigError for a pipeline that neither the config nor
        a letter has."""
        from mess.state.keys import with_keys

        await self._know_pipeline(store, config)
        return await with_keys(store, self.wanted, self.keys) if self.keys else self.wanted

    def all_found(self, pointers: Iterable[Pointer]) -> None:
        """Make sure that every requested id was found, and something for the requested documents. Raises ConfigError
        that names the missing ones."""
        found = {pointer.id for pointer in pointers}
        matching = f"`{command('dead-letters list')}` shows them"
        if missing := [each for each in self.wanted.ids or () if each not in found]:
            others = " that matches" if len(_filters(self.wanted)) > 1 or self.keys else ""
            raise ConfigError(f"no dead letter {', '.join(missing)}{others}; {matching}")
        if self.keys and not found:
            raise ConfigError(f"no dead letter of a document with the _id {' or '.join(self.keys)}; {matching}")

    async def _know_pipeline(self, store: StateStore, config: Config) -> None:
        from mess.config.scope import pipelines

        asked, known = self.wanted.pipeline, {each.name for each in pipelines(config)}
        if asked is None or asked in known:
            return
        known |= {pipeline for pipeline, _ in await store.dead_letter_places()}
        if asked not in known:
            names = ", ".join(repr(each) for each in sorted(known) if each)
            raise ConfigError(f"there is no pipeline {asked!r}, in the config or in a dead letter; there are: {names}")


def choose(
    ids: Annotated[
        list[str] | None, typer.Argument(help="Only these events.", metavar="[ID]...", show_default=False)
    ] = None,
    id_: Annotated[list[str] | None, _option("--id", help="The same as ID.")] = None,
    key: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            help="Only those of the document with this _id, as shown by `list`, or as JSON or Extended JSON.",
            metavar="ID",
            show_default=False,
        ),
    ] = None,
    pipeline: Annotated[str | None, _option("--pipeline", help="Only this pipeline's.")] = None,
    step: Annotated[str | None, _option("--step", help="Only those that failed at this step.")] = None,
    namespace: Annotated[
        str | None, _option("--namespace", help="Only this database's, or database.collection's; globs are allowed.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(help="Only those given up since: an ISO time, or an age like 2h.", parser=moment, metavar="TIME"),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(help="Only those given up until: an ISO time, or an age like 2h.", parser=moment, metavar="TIME"),
    ] = None,
    reason: Annotated[str | None, _option("--reason", help="Only those whose reason contains this text.")] = None,
) -> Choice:
    """The letters that the options select."""
    from mess.state.records import Wanted

    wanted = Wanted(
        pipeline=pipeline,
        step=step,
        namespace=namespace,
        since=since,
        until=until,
        reason=reason,
        ids=tuple(dict.fromkeys([*(ids or ()), *(id_ or ())])) or None,
    )
    return Choice(wanted, tuple(key or ()))


def choosing(run: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options of `choose`; its own follow. The command gets their result as its first argument."""
    options = signature(choose, eval_str=True).parameters
    _, *own = signature(run, eval_str=True).parameters.values()

    @wraps(run)
    def chosen(**given: Any) -> None:
        choice = choose(**{name: given.pop(name) for name in options})
        run(choice, **given)

    chosen.__signature__ = Signature([*options.values(), *own])  # type: ignore[attr-defined]
    return chosen


def _filters(wanted: Wanted) -> list[str]:
    return [name for name in wanted.__slots__ if getattr(wanted, name) is not None]


def letters(count: int) -> str:
    """`1 dead letter`, `2 dead letters`."""
    return f"{count} dead letter{'' if count == 1 else 's'}"
