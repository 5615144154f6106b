"""`leasebox serve ROLE`: one role, for many machines; `leasebox up` starts each of its roles by it too."""

import os
from collections.abc import Callable

import click

from leasebox import wiring
from leasebox.cli import refuse
from leasebox.cli.startup import LISTENING, load, with_ports
from leasebox.config import ROLE_NAMES, ConfigFaults, Settings
from leasebox.infra import log, migrate, reach
from leasebox.infra.nursery import READY_FD


@click.command()
@click.argument("role", type=click.Choice(ROLE_NAMES))
def serve(role: str) -> None:
    """Start one role on the servers named by DATABASE_URL and REDIS_URL.

    It never migrates; it ends with status 2 when migrations are behind, a server does not answer or a port is in use.
    """
    settings = load(os.environ)
    descriptor = os.environ.pop(READY_FD, None)
    if descriptor is None:  # else `leasebox up` has seen to it, and several HTTP processes share a port
        _check_servers(settings)
        if role in LISTENING:
            environ, settings = with_ports(os.environ, settings, {role: LISTENING[role]})
            os.environ.update(environ)
    log.configure(settings.log_level, settings.log_format)
    log.bind_process(role=role)
    try:
        wiring.run_role(role, settings, _readiness(role, descriptor))
    except ConfigFaults as fault:
        refuse(fault.faults)


def _check_servers(settings: Settings) -> None:
    if settings.database_url is None or settings.redis_url is None:
        refuse(["`leasebox serve` needs DATABASE_URL and REDIS_URL; `leasebox up` brings its own"])
    url = settings.database_url.reveal()
    looks = (reach.database_fault(url), reach.redis_fault(settings.redis_url.reveal()))
    if faults := [fault for fault in looks if fault]:
        refuse(faults)
    if pending := migrate.pending(url):
        refuse([f"the database lacks the migrations {', '.join(pending)}: run `leasebox migrate`"])


def _readiness(role: str, descriptor: str | None) -> Callable[[str], None]:
    def ready(words: str) -> None:
        if descriptor is None:
            click.echo(f"leasebox serving {role} {words}".rstrip())
            return
        with os.fdopen(int(descriptor), "w") as spoken:
            spoken.write(f"{words}\n")

    return ready
