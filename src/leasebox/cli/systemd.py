"""`leasebox systemd`: units that run leasebox, or one role of it, as a user of its own and let it reach nothing else.

Printed rather than kept as files, because they name the program that prints them: what is installed is what is run.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import click

from leasebox.config import ROLE_NAMES

_USER = "leasebox"
_FOLDER = "/etc/leasebox"
# Files of root's (0600) that systemd hands over to this unit alone; they are read through `<name>_FILE`.
_CREDENTIALS = {"DATABASE_URL": "database-url", "REDIS_URL": "redis-url", "LEASEBOX_SECRET": "secret"}
_OPTIONAL = {"LEASEBOX_SECRET_PREVIOUS": "secret-previous", "LEASEBOX_RELAY": "relay", "LEASEBOX_RPC_URL": "rpc-url"}
# Below the root: what ProtectHome and PrivateTmp hide from a service.
_HIDDEN = {"home", "root", "tmp"}


class Unit(NamedTuple):
    """What sets one unit apart. memory: MemoryMax; low_ports: whether it may listen below 1024."""

    words: str
    meaning: str
    memory: str
    low_ports: bool
    credentials: Mapping[str, str]


UNITS: dict[str, Unit] = {
    "up": Unit("up", "everything on this machine", "2G", low_ports=True, credentials={}),
    "http": Unit("serve http", "HTTP", "1G", low_ports=False, credentials=_CREDENTIALS),
    "smtp": Unit("serve smtp", "mail coming in, and submission", "1G", low_ports=True, credentials=_CREDENTIALS),
    "parser": Unit("serve parser", "received bytes into messages", "2G", low_ports=False, credentials=_CREDENTIALS),
    "worker": Unit("serve worker", "mail going out, webhooks, jobs", "1G", low_ports=False, credentials=_CREDENTIALS),
    "migrate": Unit("migrate", "the database up to date", "1G", low_ports=False, credentials=_CREDENTIALS),
}
assert set(ROLE_NAMES) < set(UNITS)

_HARDENING = """
NoNewPrivileges=yes
ProtectSystem=strict
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
ProtectClock=yes
ProtectControlGroups=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectProc=invisible
LockPersonality=yes
MemoryDenyWriteExecute=yes
RemoveIPC=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
SystemCallFilter=setpriority
SystemCallErrorNumber=EPERM
"""
_LOW_PORTS = """
CapabilityBoundingSet=CAP_NET_BIND_SERVICE
AmbientCapabilities=CAP_NET_BIND_SERVICE
"""
_NO_CAPABILITIES = """
CapabilityBoundingSet=
AmbientCapabilities=
PrivateUsers=yes
"""


@click.command()
@click.argument("name", type=click.Choice(list(UNITS)), default="up")
def systemd(name: str) -> None:
    """Print a systemd unit: of `up`, all on this machine, or of one role, for several machines.

    The unit wants a user named leasebox, and takes further settings from /etc/leasebox/environment.
    """
    program = Path(sys.prefix) / "bin" / "leasebox"
    if program.parts[1] in _HIDDEN:
        click.echo(f"leasebox: {program} is hidden from services: install leasebox below /opt, say", err=True)
    click.echo(unit(name, program), nl=False)


def unit(name: str, program: Path) -> str:
    """The text of a unit; program: the `leasebox` command by its absolute path."""
    one = UNITS[name]
    file = _USER if name == "up" else f"{_USER}-{name}"
    once = name == "migrate"
    lines = [
        f"# {file}.service: install it in /etc/systemd/system, then `systemctl daemon-reload`.",
        "[Unit]",
        f"Description=leasebox: {one.meaning}",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
        *(["Type=oneshot"] if once else ["Type=exec", *_restarting()]),
        f"ExecStart={program} {one.words}",
        f"User={_USER}",
        f"Group={_USER}",
        "UMask=0077",
        f"StateDirectory={_USER}",
        "StateDirectoryMode=0700",
        f"WorkingDirectory=%S/{_USER}",
        f"Environment=LEASEBOX_HOME=%S/{_USER} LEASEBOX_LOG_FORMAT=json",
        *(_sockets() if name == "up" else []),
        f"EnvironmentFile=-{_FOLDER}/environment",
        *_credentials(one),
        f"MemoryMax={one.memory}",
        "TasksMax=512",
        "LimitNOFILE=65536",
        "LimitCORE=0",
        *(_LOW_PORTS if one.low_ports else _NO_CAPABILITIES).strip().splitlines(),
        *_HARDENING.strip().splitlines(),
        *([] if once else ["", "[Install]", "WantedBy=multi-user.target"]),
    ]
    return "\n".join(lines) + "\n"


def _restarting() -> list[str]:
    # Status 2: it cannot run as it is set up, and would not the next time. Only the first process is told to stop: it
    # drains the others; what is left of them after that is killed.
    return ["Restart=on-failure", "RestartSec=2", "RestartPreventExitStatus=2", "KillMode=mixed", "TimeoutStopSec=60"]


def _sockets() -> list[str]:
    # The engines' sockets: not in the private /tmp, where `leasebox secrets` or `pg_dump` beside the unit miss them.
    return [
        f"RuntimeDirectory={_USER}",
        "RuntimeDirectoryMode=0700",
        f"Environment=XDG_RUNTIME_DIR=%t/{_USER}",
    ]


def _credentials(one: Unit) -> list[str]:
    lines = [line for name, file in one.credentials.items() for line in _credential(name, file)]
    optional = _OPTIONAL if one.credentials else _OPTIONAL | {"LEASEBOX_SECRET": "secret"}
    return [*lines, *(f"#{line}" for name, file in sorted(optional.items()) for line in _credential(name, file))]


def _credential(name: str, file: str) -> tuple[str, str]:
    return f"LoadCredential={file}:{_FOLDER}/{file}", f"Environment={name}_FILE=%d/{file}"
