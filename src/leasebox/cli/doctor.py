"""`leasebox doctor`: looks at everything an agent needs and says what to do about each fault."""

import os
import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Literal
from urllib.parse import urlsplit

import click
import httpx
import msgspec
from rich.console import Console
from rich.text import Text

from leasebox.cli.agent_output import REFUSED, AgentCommand, answer, plain
from leasebox.cli.agent_session import open_client, server_url
from leasebox.client import Client, ClientError, Door, Patience, Runtime
from leasebox.infra import reach
from leasebox.values.clock import Clock, SystemClock

_HASTY = Patience(tries=1)
_SECONDS = 5.0
# A challenge lives five minutes; a clock that is further off than this makes sessions look ended or endless.
_SKEW_S = 60
_STYLES = {"ok": "green", "fault": "bold red", "skipped": "dim"}


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at. fix: what to do about a fault, one sentence."""

    name: str
    state: Literal["ok", "fault", "skipped"]
    detail: str
    fix: str | None = None


@click.command(cls=AgentCommand)
def doctor() -> None:
    """Check the server, the clock, the session and the mail port; status 1 when something is wrong."""
    findings = list(examine(server_url(), SystemClock()))
    healthy = all(finding.state != "fault" for finding in findings)
    answer({"ok": healthy, "checks": findings}, lambda console: _draw(console, findings))
    if not healthy:
        click.get_current_context().exit(REFUSED)


def examine(url: str, clock: Clock) -> Iterator[Finding]:
    """What is well and what is not, in the order in which one thing needs another."""
    with httpx.Client(timeout=_SECONDS) as http:
        reached = _reached(http, url)
        yield reached[0]
        if reached[1] is None:
            rest = ("ready", "clock", "runtime", "session", "smtp")
            yield from (Finding(name, "skipped", "the server was not reached") for name in rest)
            return
        yield _ready(http, url)
        yield _clock(reached[1], clock.now())
    with Client(url, patience=_HASTY) as client:
        found, runtime = _runtime(client)
    yield found
    yield _session()
    yield _smtp(_dialled(runtime.smtp, url) if runtime and runtime.smtp else None)
    if database := os.environ.get("DATABASE_URL", "").strip():
        yield _wall(database)


def _reached(http: httpx.Client, url: str) -> tuple[Finding, httpx.Response | None]:
    try:
        response = http.get(f"{url}/healthz")
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        why = str(fault) or type(fault).__name__
        fix = "Start it with `leasebox up`, or set LEASEBOX_URL to where it runs."
        return Finding("server", "fault", f"{url} does not answer: {why}", fix), None
    if response.status_code != 200:
        fix = "Set LEASEBOX_URL to a leasebox; something else seems to answer there."
        return Finding("server", "fault", f"{url}/healthz answered {response.status_code}", fix), None
    return Finding("server", "ok", f"{url} answers"), response


def _ready(http: httpx.Client, url: str) -> Finding:
    try:
        response = http.get(f"{url}/readyz")
    except httpx.HTTPError as fault:
        return Finding("ready", "fault", str(fault) or type(fault).__name__, "Look at the server's log.")
    if response.status_code == 200:
        return Finding("ready", "ok", "database and Redis answer, migrations are current")
    fix = "Its operator looks at the log: the database, Redis or the migrations are not as they should be."
    return Finding("ready", "fault", f"{url}/readyz answered {response.status_code}: {response.text[:200]}", fix)


def _clock(response: httpx.Response, now: datetime) -> Finding:
    try:
        told = parsedate_to_datetime(response.headers.get("date", ""))
        skew_s = round((now - told).total_seconds())
    except (ValueError, TypeError):
        return Finding("clock", "skipped", "the server tells no Date")
    if abs(skew_s) > _SKEW_S:
        way = "ahead of" if skew_s > 0 else "behind"
        detail = f"this machine is {abs(skew_s)} s {way} the server"
        return Finding("clock", "fault", detail, "Set both clocks by NTP; sign-in messages live five minutes.")
    return Finding("clock", "ok", "this machine and the server agree within a minute")


def _runtime(client: Client) -> tuple[Finding, Runtime | None]:
    try:
        runtime = client.runtime()
    except ClientError as fault:
        return Finding("runtime", "fault", fault.message, fault.fix), None
    chain = f"{runtime.chain_name} ({runtime.base_chain_id})" if runtime.chain_name else str(runtime.base_chain_id)
    detail = f"leasebox {runtime.version}, wallets sign for chain {chain}, mail at {runtime.mailbox_domain}"
    return Finding("runtime", "ok", detail), runtime


def _session() -> Finding:
    try:
        with open_client() as client:
            me = client.me()
    except ClientError as fault:
        return Finding("session", "fault", fault.message, fault.fix)
    who = me.wallet_address or me.agent_id or me.credential_id
    way = "LEASEBOX_TOKEN" if os.environ.get("LEASEBOX_TOKEN", "").strip() else "session"
    return Finding("session", "ok", f"the {way} is good for {who}")


def _dialled(door: Door, url: str) -> Door:
    """Where to find a port that listens on every address: where the API was found."""
    anywhere = door.host in {"0.0.0.0", "::", "*"}  # noqa: S104 - compared, not bound
    return Door(host=urlsplit(url).hostname or door.host, port=door.port) if anywhere else door


def _smtp(door: Door | None) -> Finding:
    if door is None:
        return Finding("smtp", "skipped", "the server names no mail port")
    where = f"{door.host}:{door.port}"
    fix = f"Open {where} to this machine, or ask the operator; mail from outside may still come in."
    try:
        greeting = _greeting(door.host, door.port)
    except OSError as fault:
        return Finding("smtp", "fault", f"{where} does not answer: {fault}", fix)
    if not greeting.startswith("220"):
        return Finding("smtp", "fault", f"{where} greets with {greeting[:80]!r}", fix)
    return Finding("smtp", "ok", f"{where} greets with {greeting[:80]}")


def _wall(database: str) -> Finding:
    """For operators, whose environment names the database."""
    if (fault := reach.wall_fault(database)) is None:
        return Finding("wall", "ok", "row-level security keeps tenants apart in the database too")
    fix = "Make a role with NOSUPERUSER NOBYPASSRLS the owner of the database and its tables."
    return Finding("wall", "fault", fault, fix)


def _greeting(host: str, port: int, dial: Callable[..., socket.socket] = socket.create_connection) -> str:
    """The first line that a mail server says (RFC 5321 §3.1)."""
    with dial((host, port), timeout=_SECONDS) as connection:
        line = connection.makefile("rb").readline(512).decode("ascii", "replace").strip()
        connection.sendall(b"QUIT\r\n")
    return line


def _draw(console: Console, findings: list[Finding]) -> None:
    for finding in findings:
        line = Text(f"{finding.state:<8}", style=_STYLES[finding.state])
        console.print(line.append(f"{finding.name:<9}{plain(finding.detail)}", style="default"))
        if finding.fix:
            console.print(Text(f"{'':<17}{plain(finding.fix)}"))
