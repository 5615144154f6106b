"""`leasebox secrets`: change the master key, and see what it seals.

Exit statuses: 0 it is done, 1 rows are left that need a key, 2 it cannot be done as it was asked.
"""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Table

from leasebox.cli import refuse
from leasebox.cli.database import on_database
from leasebox.cli.places import shown
from leasebox.cli.startup import load
from leasebox.config import Settings
from leasebox.infra import master_key
from leasebox.infra.db import Database
from leasebox.infra.embedded import attach
from leasebox.infra.reseal import SealedTable, Standing, reseal, standing
from leasebox.wiring.secrets import sealed_tables

LEFT = 1
_ROTATE = "`leasebox secrets rotate`"
_OPERATORS = (
    "the master key comes from LEASEBOX_SECRET, so it is yours to change:",
    "1. add a fresh key as LEASEBOX_SECRET_PREVIOUS and restart the roles one after another: now all know both",
    "2. exchange the two and restart the roles one after another: now the fresh one seals",
    f"3. with these settings run {_ROTATE}, then `leasebox secrets retire`",
)


class Left(NamedTuple):
    """What a change of keys came to. closed: why rows stay as they are."""

    standings: Sequence[Standing]
    closed: Sequence[str]


@click.group()
def secrets() -> None:
    """Change the master key; see what it seals."""


@secrets.command()
def status() -> None:
    """Show which master keys are in use and how many rows each seals; status 1 if some are sealed with neither."""
    settings = load(os.environ)
    standings = on_database(settings, lambda database: _standings(database, sealed_tables(settings)))
    where = shown(master_key.current(settings.home)) if _keeps_own(os.environ) else "LEASEBOX_SECRET"
    click.echo(f"current   {master_key.name_of(settings.secret)}  {where}")
    if settings.secret_previous is not None:
        where = shown(master_key.previous(settings.home)) if _keeps_own(os.environ) else "LEASEBOX_SECRET_PREVIOUS"
        click.echo(f"previous  {master_key.name_of(settings.secret_previous)}  {where}")
    Console().print(_drawn(standings))
    if lost := _lost(standings):
        _tell(lost)
        sys.exit(LEFT)


@secrets.command()
def rotate() -> None:
    """Make a new master key, and seal with it what the one before sealed.

    While leasebox runs it asks for a restart in between (status 1). Killed at any moment, it goes on when run again.
    """
    with _alone(load(os.environ)):
        settings = load(os.environ)
        if settings.secret_previous in {None, settings.secret}:
            settings = _changed(settings)
        _require_restarted(settings)
        left = on_database(settings, lambda database: _resealed(database, sealed_tables(settings)))
        _report(settings, left)


@secrets.command()
def retire() -> None:
    """Let go of the previous master key, if no row needs it; status 1 and the rows by table if some do."""
    with _alone(load(os.environ)):
        settings = load(os.environ)
        if settings.secret_previous in {None, settings.secret}:
            refuse(["there is no previous master key"])
        _require_restarted(settings)
        standings = on_database(settings, lambda database: _standings(database, sealed_tables(settings)))
        if needing := _needing(standings):
            _tell([*needing, f"the previous master key is needed: run {_ROTATE} first"])
            sys.exit(LEFT)
        name = master_key.name_of(settings.secret_previous) if settings.secret_previous else ""
        if not _keeps_own(os.environ):
            click.echo(f"no row needs {name}: unset LEASEBOX_SECRET_PREVIOUS and restart the roles one after another")
            return
        master_key.forget_previous(settings.home)
    click.echo(f"{name} is gone; a leasebox that runs forgets it when it is restarted")


def _keeps_own(environ: Mapping[str, str]) -> bool:
    """Whether the home keeps the master key, rather than the operator."""
    theirs = ("DATABASE_URL", "DATABASE_URL_FILE", "LEASEBOX_SECRET", "LEASEBOX_SECRET_FILE")
    return not any(environ.get(name, "").strip() for name in theirs)


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    if not _keeps_own(os.environ):
        yield  # whoever changes the settings is alone, or nobody can help them
        return
    if not master_key.current(settings.home).exists():
        refuse([f"there is no master key in {shown(settings.home)}: `leasebox up` makes one"])
    with master_key.changing(settings.home) as ours:
        if not ours:
            refuse(["the master key is being changed by another process"])
        yield


def _changed(settings: Settings) -> Settings:
    """The settings with a new key. Ends here where leasebox runs, since its roles do not know the new key yet."""
    if not _keeps_own(os.environ):
        refuse(_OPERATORS)
    try:
        made = master_key.change(settings.home, settings.secret)
    except OSError as fault:
        refuse([f"cannot write the master key into {settings.home}: {fault.strerror}"])
    click.echo(f"new master key {master_key.name_of(made)}, previous {master_key.name_of(settings.secret)}")
    return load(os.environ)


def _require_restarted(settings: Settings) -> None:
    if not _keeps_own(os.environ) or attach(settings.home) is None:
        return
    if master_key.used(settings.home) != master_key.name_of(settings.secret):
        _tell(
            ["leasebox runs with another key, so nothing is sealed anew yet", f"restart it, then run {_ROTATE} again"]
        )
        sys.exit(LEFT)


async def _standings(database: Database, tables: Sequence[SealedTable]) -> list[Standing]:
    return [await database.read(lambda tx, table=table: standing(tx, table)) for table in tables]  # type: ignore[misc]


async def _resealed(database: Database, tables: Sequence[SealedTable]) -> Left:
    """Table by table, with a bar on a terminal while it lasts."""
    console, closed = Console(stderr=True), []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        for table, found in zip(tables, await _standings(database, tables), strict=True):
            bar = bars.add_task(table.name, total=found.previous + sum(found.lost.values()))
            closed += await reseal(database, table, lambda rows, bar=bar: bars.advance(bar, rows))  # type: ignore[misc]
    return Left(await _standings(database, tables), closed)


def _report(settings: Settings, left: Left) -> None:
    Console().print(_drawn(left.standings))
    _tell(dict.fromkeys(left.closed))
    if needing := _needing(left.standings):
        _tell(
            [*needing, "these are sealed with the previous key still: a role seals with it, or they cannot be opened"]
        )
    if needing or left.closed:
        sys.exit(LEFT)
    name = master_key.name_of(settings.secret)
    click.echo(f"everything is sealed with {name}; `leasebox secrets retire` lets go of the previous master key")


def _drawn(standings: Sequence[Standing]) -> Table:
    table = Table(box=None, pad_edge=False)
    table.add_column("rows sealed in")
    for heading in ("current", "previous", "neither"):
        table.add_column(heading, justify="right")
    for each in standings:
        table.add_row(each.table, f"{each.current:,}", f"{each.previous:,}", f"{sum(each.lost.values()):,}")
    return table


def _needing(standings: Sequence[Standing]) -> list[str]:
    return [f"{each.table}: {each.previous:,} rows" for each in standings if each.previous]


def _lost(standings: Sequence[Standing]) -> list[str]:
    return [
        f"{each.table}: {rows:,} rows are sealed with the key {kid}, which comes from neither master key"
        for each in standings
        for kid, rows in each.lost.items()
    ]


def _tell(lines: Sequence[str] | dict[str, None]) -> None:
    for line in lines:
        click.echo(f"leasebox: {line}", err=True)
