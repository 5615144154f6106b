"""`leasebox up`: engines, migrations and all roles on this machine, by one command."""

import asyncio
import functools
import os
import shutil
import signal
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from leasebox import config
from leasebox.cli import refuse
from leasebox.cli.nursery import FRESH
from leasebox.cli.places import shown
from leasebox.cli.startup import LISTENING, engines_of, load, with_ports
from leasebox.config import ROLE_NAMES, Settings
from leasebox.infra import reach
from leasebox.infra.adoption import Nursery
from leasebox.infra.embedded import Engines
from leasebox.infra.supervisor import Child, RoleSpec, Supervisor

_SHOWN = ("http", "smtp", "submission", "imap")
# -P: the current directory is no place to import from.
_SELF = (sys.executable, "-P", "-m", "leasebox")
_NURSERY = (sys.executable, "-P", "-m", "leasebox.cli.nursery")
# prometheus_client reads it when it is imported; the roles of a machine share the folder.
_METRICS_FOLDER = "PROMETHEUS_MULTIPROC_DIR"


@click.command()
def up() -> None:
    """Start everything on this machine: engines (unless DATABASE_URL and REDIS_URL say where), migrations, roles.

    Prints one line beginning `leasebox ready` when every role answers. SIGTERM or Ctrl-C drains and stops. Ends with
    status 2 when it cannot run as it is set up.
    """
    environ, settings = with_ports(os.environ, load(os.environ), LISTENING)
    if settings.redis_url and (fault := reach.redis_fault(settings.redis_url.reveal())):
        refuse([fault])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    fresh = settings.database_url is None and not (settings.home / "postgres").exists()
    nursery = Nursery([*_NURSERY, *([FRESH] if fresh else [])], preface=len(_SELF))

    def begin(engines: Engines) -> None:
        environ[_METRICS_FOLDER] = str(engines.scratch())
        nursery.open(environ)

    with closing(nursery), engines_of(settings, meanwhile=begin) as (engines, database_url, redis_url):
        _keep_secret(settings)
        env = config.for_role(environ, settings, database_url, redis_url)
        status = asyncio.run(_run(settings, env, engines, nursery))
    sys.exit(status)


def _keep_secret(settings: Settings) -> None:
    try:
        config.keep_secret(settings)
    except OSError as fault:
        refuse([f"cannot write the master key into {settings.home}: {fault.strerror}"])


async def _run(settings: Settings, env: dict[str, str], engines: Engines, nursery: Nursery) -> int:
    migrating = await _migrating(env, nursery)
    if settings.database_url and (status := await migrating.wait()):
        return status  # it has said why: nobody answers there, or somebody else's tables
    drained = await _supervise(settings, env, engines, nursery, migrating)
    return await migrating.wait() or drained


async def _migrating(env: dict[str, str], nursery: Nursery) -> Child:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        return await nursery.start(RoleSpec("migrate", [*_SELF, "migrate"], env), nowhere)
    finally:
        os.close(nowhere)


async def _supervise(
    settings: Settings, env: dict[str, str], engines: Engines, nursery: Nursery, migrating: Child
) -> int:
    """Start the roles while our own database is being migrated: they wait for that before they touch a table."""
    roles = [RoleSpec(name, [*_SELF, "serve", name], env) for name in ROLE_NAMES]
    # They share the port (SO_REUSEPORT), and the kernel spreads the connections.
    roles += [RoleSpec(f"http-{number}", [*_SELF, "serve", "http"], env) for number in range(2, settings.workers + 1)]

    def tend() -> list[str]:
        if migrating.returncode:
            # It has said why, with a line of its own; roles that wait for it would wait for ever.
            os.kill(os.getpid(), signal.SIGTERM)
        return [*engines.tend(), *nursery.tend(engines.pids().values())]

    return await Supervisor(
        roles,
        on_ready=lambda words: _announce(settings, words),
        tell=lambda line: _log(settings.log_level, settings.log_format).warning(line),
        tend=tend,
        start=nursery.start,
    ).run()


@functools.cache
def _log(level: str, form: str | None) -> Any:
    from leasebox.infra import log  # noqa: PLC0415 costs 90 ms and is needed only once something has gone wrong

    log.configure(level, form)
    return log.get("supervisor")


def _own_name() -> str:
    """How to call this very command again from here."""
    called = Path(sys.argv[0])
    if called.name != "leasebox" or shutil.which("leasebox") == str(called):
        return "leasebox"
    return os.path.relpath(called)


def _announce(settings: Settings, words: dict[str, str]) -> None:
    addresses = " ".join(f"{name}={words[name]}" for name in _SHOWN if name in words)
    block = {
        "API": settings.public_url,
        "For agents": f"{settings.public_url}/agents-guide",
        "Reference": f"{settings.public_url}/docs",
        "Mail to": f"*@{settings.mail_domain}, received at {words.get('smtp', settings.smtp)}",
        "Data in": shown(settings.home),
        "Try": f"LEASEBOX_URL={settings.public_url} {_own_name()} login --generate",
    }
    if os.geteuid() == 0:  # the engines have let go of it; the roles cannot, for what they read may be root's alone
        block["Runs as"] = f"root, so a fault in a role opens the machine; see `{_own_name()} systemd`"
    click.echo(f"leasebox ready {addresses}")
    click.echo("\n".join(f"  {name:<12}{text}" for name, text in block.items()))
