"""`leasebox migrate`: bring the database up to date without starting anything on it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import click

from leasebox.cli import refuse
from leasebox.cli.startup import engines_of, load
from leasebox.config import Settings
from leasebox.infra import migrate as migrations
from leasebox.infra import reach
from leasebox.infra.embedded import attach
from leasebox.infra.nursery import READY_FD
from leasebox.values.errors import Unavailable


@click.command()
def migrate() -> None:
    """Bring the database (DATABASE_URL, else the embedded one of LEASEBOX_HOME) up to date."""
    settings = load(os.environ)
    by_hand = READY_FD not in os.environ  # `leasebox up` has a first line of its own, and restores nothing
    with _database(settings) as url:
        if broken := reach.database_fault(url):
            refuse([broken])
        try:
            applied = migrations.upgrade(url)
            if by_hand:
                migrations.withdraw_rights(url)
        except Unavailable as fault:
            refuse([fault.message])
    if by_hand:
        click.echo(f"applied {', '.join(applied)}" if applied else "nothing to apply")


@contextmanager
def _database(settings: Settings) -> Iterator[str]:
    running = attach(settings.home)
    if settings.database_url:
        yield settings.database_url.reveal()
    elif running and running.database_url:
        yield running.database_url
    else:
        with engines_of(settings) as (_, url, _redis_url):
            yield url
