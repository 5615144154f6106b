"""How the agent's commands answer: JSON for programs or tables for people on stdout, refusals on stderr.

Exit statuses: 0 done, 1 refused or out of reach, 2 wrongly called (click's own), 3 nothing came in time.
"""

import sys
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from leasebox.client import ApiError, ClientError
from leasebox.values.secret import Secret

REFUSED = 1
NOTHING_CAME = 3
_WIDE = 240
_JSON = "leasebox.cli.json"
# Direction overrides can make a text look like another one (Unicode TR 36 §2.1); invisible ones carry no words.
_HARMLESS = {"\n", "\t"}
_HIDING = {"Cc", "Cf", "Co", "Cs", "Zl", "Zp"}


class AgentCommand(click.Command):
    """A command with `--json` that tells the client's errors and ends with their exit status."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--json"],
                is_flag=True,
                expose_value=False,
                callback=_remember,
                help="Print JSON on stdout, and nothing else.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except ClientError as fault:
            tell(fault)
            ctx.exit(REFUSED)


def answer(value: Any, for_people: Callable[[Console], None]) -> None:
    """Print `value` as JSON where that is asked for, else what `for_people` draws."""
    if wants_json():
        click.echo(encode(value))
    else:
        for_people(console())


def encode(value: Any) -> bytes:
    """JSON on one line. Secrets are written out: the command was asked for them."""
    return msgspec.json.encode(value, enc_hook=_revealed)


def wants_json() -> bool:
    """Whether the running command was given --json."""
    return bool(click.get_current_context().meta.get(_JSON))


def note(text: str) -> None:
    """Say something to people only, on stderr."""
    if not wants_json():
        click.echo(text, err=True)


def tell(fault: ClientError) -> None:
    """Say on stderr what was refused and what to do; with --json as one line of JSON."""
    status, request_id = (fault.status, fault.request_id) if isinstance(fault, ApiError) else (None, "")
    if wants_json():
        told: dict[str, Any] = {"error": fault.error, "message": fault.message, "fix": fault.fix}
        told |= {"status": status, "request_id": request_id, **fault.fields} if isinstance(fault, ApiError) else {}
        click.echo(encode(told), err=True)
        return
    code = f"{status} {fault.error}: " if status else ""
    click.echo(f"leasebox: {plain(code + fault.message)}", err=True)
    for refused in _rejected(fault):
        click.echo(f"  not to: {refused}", err=True)
    click.echo(f"  what to do: {plain(fault.fix)}", err=True)
    if request_id:
        click.echo(f"  request_id: {plain(request_id)}", err=True)


def console() -> Console:
    """Where tables are drawn; wide when nobody's terminal limits it, so that ids are never cut."""
    width = None if sys.stdout.isatty() else _WIDE
    return Console(width=width, highlight=False, markup=False, emoji=False)


def table(headings: Sequence[str], rows: Sequence[Sequence[str | None]]) -> Table:
    """A plain table of texts that may be hostile."""
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        drawn.add_column(heading, overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(one_line(cell or "")) for cell in row))
    return drawn


def facts(rows: Sequence[tuple[str, str | None]]) -> Table:
    """Names and values, one a line; those without a value are left out."""
    drawn = Table(box=None, pad_edge=False, show_header=False)
    drawn.add_column(style="bold", no_wrap=True)
    drawn.add_column(overflow="fold")
    for name, value in rows:
        if value:
            drawn.add_row(name, Text(plain(value)))
    return drawn


def plain(text: str) -> str:
    """Text that cannot steer a terminal or disguise itself: no control, format, private or surrogate characters."""
    return "".join(char for char in text if char in _HARMLESS or unicodedata.category(char) not in _HIDING)


def one_line(text: str) -> str:
    """The same, on one line."""
    return " ".join(plain(text).split())


def _rejected(fault: ClientError) -> list[str]:
    """Recipients that a message was refused for, each with the reason, where that is what the refusal tells."""
    told = fault.fields.get("rejected") if isinstance(fault, ApiError) else None
    people = [each for each in told if isinstance(each, dict)] if isinstance(told, list) else []
    return [one_line(f"{each.get('address', '')}: {each.get('message', '')}") for each in people]


def _remember(ctx: click.Context, _: click.Parameter, value: Any) -> None:
    ctx.meta[_JSON] = value


def _revealed(value: Any) -> Any:
    if isinstance(value, Secret):
        return value.reveal()
    raise TypeError(f"{type(value).__name__} is not for JSON")
