"""`mess test`: run cases, which are events and what the pipelines should make of them."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mess.cli.common import ConfigOption, JsonOption, load_config, print_json, run_async, say
from mess.cli.root import app
from mess.errors import ConfigError, Problem

if TYPE_CHECKING:
    from mess.cases.case import Case
    from mess.cases.run import Result
    from mess.config.load import Loaded
    from mess.relay.build import Steps

_FOLDER = "tests"


@app.command("test")
def run_cases(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(
            help="Folders with cases, or single ones. Default: the folder tests beside the config file.",
            metavar="FOLDER",
            show_default=False,
        ),
    ] = None,
    update: Annotated[
        bool,
        typer.Option("--update", help="Write what is sent now into cases that fail, or that expect nothing yet."),
    ] = False,
    json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Put the events of cases through the config's pipelines, and compare what would be sent with what is expected.

    Filters, field-maps and functions really run; http and queue steps connect to nothing and send nothing.

    Exit codes: 0 all cases pass, 1 a case fails, 2 the config or a case has mistakes.
    """
    loaded = load_config(config)
    from mess.cases.find import find
    from mess.cases.run import run_all
    from mess.relay.build import build_pipelines
    from mess.telemetry.logging import configure

    configure("error", loaded.config.log.format, to="stderr", max_field=loaded.config.log.max_field)
    steps = build_pipelines(loaded)
    cases = _read(find(paths or [loaded.path.parent / _FOLDER]), loaded, steps, update=update)
    with contextlib.redirect_stdout(sys.stderr):  # users' functions may print
        results = run_async(run_all(cases, steps, loaded.config))
    updated = _update(results) if update else set()
    if json:
        print_json([_shape(result, result.case.path in updated) for result in results])
    else:
        _tell(results, updated)
    if any(not result.passed and result.case.path not in updated for result in results):
        raise typer.Exit(1)


def _read(paths: list[Path], loaded: Loaded, steps: Steps, *, update: bool) -> list[Case]:
    from mess.cases.case import read

    cases: list[Case] = []
    problems: list[Problem] = []
    for path in paths:
        case, found = read(path, loaded, steps, update=update)
        problems += found
        if case is not None:
            cases.append(case)
            if case.expect is None and not update:
                problems.append(Problem("has no expect:; `--update` writes what is sent now", file=str(path)))
    if problems:
        raise ConfigError(problems)
    return cases


def _update(results: list[Result]) -> set[Path]:
    from mess.cases.write import update

    failed = [result for result in results if not result.passed]
    for result in failed:
        update(result.case, result.outcomes)
    return {result.case.path for result in failed}


def _state(result: Result, updated: bool) -> str:
    return "updated" if updated else "passed" if result.passed else "failed"


def _shape(result: Result, updated: bool) -> dict[str, Any]:
    """A result as users see it."""
    differences = [
        {"event": each.number, "expected": each.expected, "actual": each.actual} for each in result.differences
    ]
    return {
        "case": str(result.case.path),
        "result": _state(result, updated),
        "differences": differences,
        "notes": list(result.notes),
    }


def _tell(results: list[Result], updated: set[Path]) -> None:
    from mess.cases.result import diff

    counts = dict.fromkeys(("passed", "failed", "updated"), 0)
    for result in results:
        state = _state(result, result.case.path in updated)
        counts[state] += 1
        say(f"{state:<8} {result.case.path}")
        for each in result.differences:
            say(f"  event {each.number}:")
            say("\n".join(f"    {line}" for line in diff(each.expected, each.actual)))
    for note in dict.fromkeys(note for result in results for note in result.notes):
        say(f"note: {note}")
    say(", ".join(f"{count} {state}" for state, count in counts.items() if count))
