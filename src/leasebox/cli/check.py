"""`leasebox config check`: the settings as they would be used."""

import os
from typing import Any

import click

from leasebox.cli.startup import load
from leasebox.config import DOCUMENTED
from leasebox.config_text import Resolver
from leasebox.values.rate import Rate


@click.group()
def config() -> None:
    """Look at the settings."""


@config.command()
def check() -> None:
    """Show every setting as it would be used, secrets hidden; status 2 and a line for each that cannot be."""
    settings = load(os.environ)
    for setting in DOCUMENTED:
        click.echo(f"{setting.name}={_shown(getattr(settings, setting.field))}")


def _shown(value: Any) -> str:
    match value:
        case None:
            return ""
        case Rate(count=count, seconds=seconds):
            return f"{count} in {seconds} s" if count else "0"
        case Resolver(mode=mode, servers=servers):
            return _shown(servers) or mode
        case tuple():
            return ",".join(str(part) for part in value)
    return str(value)
