"""The `leasebox` command. Every subcommand's module is imported only when it is called, so that each starts fast."""

import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any, NamedTuple, NoReturn

import click

from leasebox import __version__

REFUSED = 2


class Command(NamedTuple):
    """Where a subcommand lives (`module:attribute`) and what it does, in a few words."""

    target: str
    meaning: str


COMMANDS: dict[str, Command] = {
    "up": Command("leasebox.cli.up:up", "Start everything on this machine"),
    "serve": Command("leasebox.cli.serve:serve", "Start one role, for many machines"),
    "migrate": Command("leasebox.cli.migrate:migrate", "Bring the database up to date"),
    "secrets": Command("leasebox.cli.secrets:secrets", "Change the master key"),
    "systemd": Command("leasebox.cli.systemd:systemd", "Print units that run leasebox as a service"),
    "audit": Command("leasebox.cli.audit:audit", "Prove what was done here, export signed heads"),
    "config": Command("leasebox.cli.check:config", "Look at the settings"),
    "login": Command("leasebox.cli.agent_login:login", "Sign in with a wallet"),
    "logout": Command("leasebox.cli.agent_login:logout", "End the session"),
    "lease": Command("leasebox.cli.agent:lease", "Lease an address"),
    "leases": Command("leasebox.cli.agent:leases", "List leases"),
    "wait": Command("leasebox.cli.agent:wait", "Wait for the next mail, its code or its link"),
    "messages": Command("leasebox.cli.agent:messages", "List mails"),
    "show": Command("leasebox.cli.agent:show", "Read one mail"),
    "send": Command("leasebox.cli.agent_mail:send", "Send a message from an address of yours"),
    "reply": Command("leasebox.cli.agent_mail:reply", "Answer a message"),
    "threads": Command("leasebox.cli.agent_mail:threads", "List and read conversations"),
    "attempts": Command("leasebox.cli.agent_mail:attempts", "What became of what you sent"),
    "listen": Command("leasebox.cli.agent_mail:listen", "Print events as they happen"),
    "release": Command("leasebox.cli.agent:release", "End a lease"),
    "domains": Command("leasebox.cli.domains:domains", "Bring domains of your own"),
    "billing": Command("leasebox.cli.billing:billing", "Check what you are billed, offline"),
    "doctor": Command("leasebox.cli.doctor:doctor", "Check server, clock, session and mail port"),
}


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        known = COMMANDS.get(cmd_name)
        if known is None:
            return None
        module, _, attribute = known.target.partition(":")
        command: Any = getattr(import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.meaning) for name, command in COMMANDS.items()])


@click.command(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="leasebox")
def main() -> None:
    """Real, disposable mailboxes leased to agents that sign in with a wallet."""


def refuse(lines: Iterable[str]) -> NoReturn:
    """Say each line on stderr and end with status 2: it cannot be done as it was asked."""
    for line in lines:
        click.echo(f"leasebox: {line}", err=True)
    sys.exit(REFUSED)
