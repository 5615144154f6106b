"""`leasebox audit`: look for changes in what was sealed, export signed heads, keys and rows.

Exit statuses: 0 nothing is wrong, 1 something is, 2 it could not be looked at.
"""

import base64
import csv
import io
import os
import re
import sys
from collections.abc import Sequence
from functools import partial
from typing import BinaryIO, TextIO

import click
import msgspec
from rich.console import Console
from rich.progress import Progress, TaskID

from leasebox.audit import service
from leasebox.audit.errors import BrokenLog
from leasebox.audit.heads import Head, Signer, Verifier, read, unchecked
from leasebox.audit.tables import Log
from leasebox.audit.verify import Exported, Figures, Wrong
from leasebox.audit.verify import verify as verify_log
from leasebox.cli import refuse
from leasebox.cli.database import on_database
from leasebox.cli.startup import load
from leasebox.config import Settings
from leasebox.infra.db import Database
from leasebox.values.clock import rfc3339
from leasebox.values.keys import Purpose, derive
from leasebox.wiring.worker import SEALED

WRONG = 1
_PAGE = 2_000
_MOST_CHARACTERS = 1_000_000
_LOGS = {log.name: log for log in SEALED}
# A signed note: lines of text, an empty line, lines of signatures (C2SP signed-note).
_NOTE = re.compile(r"(?:[^\n]+\n)+\n(?:— [^\n]*\n)+")
_log_option = click.option(
    "--log", "names", type=click.Choice(list(_LOGS)), multiple=True, help="Only this log; may be repeated."
)
_out_option = click.option(
    "-o", "--out", type=click.File("wb", atomic=True), default="-", help="A file to write, else stdout."
)


@click.group()
def audit() -> None:
    """Look for changes in what was sealed; export what others need to hold us to it."""


@audit.command()
@click.option("--head", "files", type=click.File(), multiple=True, help="Heads that were exported before.")
@click.option("--key", "keys", multiple=True, help="A public key to trust besides ours, as `audit key` prints it.")
@_log_option
def verify(files: Sequence[TextIO], keys: Sequence[str], names: Sequence[str]) -> None:
    """Look at every sealed row again; status 1 and the first wrong row where something was changed.

    Edited, deleted, swapped and reordered rows are found without more. That everything was written anew, or cut off at
    its end, can only be seen with a head that was kept elsewhere: give it with --head.
    """
    settings = load(os.environ)
    trusted = [*_own_keys(settings), *map(_given_key, keys)]
    exported = [_exported(note, trusted) for file in files for note in _notes(file)]
    found = on_database(settings, lambda database: _verify(database, _chosen(names), trusted, exported))
    for each in found:
        click.echo(_told(each), err=isinstance(each, Wrong))
    if any(isinstance(each, Wrong) for each in found):
        sys.exit(WRONG)
    click.echo(f"nothing is wrong; {_held_to(exported)}")


@audit.command()
@_log_option
@_out_option
def head(names: Sequence[str], out: BinaryIO) -> None:
    """Print the newest signed head of each log, to be kept where the database's owner cannot reach it."""

    async def newest(database: Database) -> list[str | None]:
        return [await database.read(partial(service.newest_head, log=log)) for log in _chosen(names)]

    notes = [note for note in on_database(load(os.environ), newest) if note]
    if not notes:
        refuse(["nothing is sealed yet; the worker seals every few seconds while leasebox runs"])
    out.write("\n".join(notes).encode())


@audit.command()
@_log_option
def key(names: Sequence[str]) -> None:
    """Print the public key that heads are signed with, as verifier keys (C2SP signed-note): name+id+key."""
    settings = load(os.environ)

    async def origins(database: Database) -> list[str]:
        secret = derive(settings.secret, Purpose.AUDIT_HEAD)
        return [await database.read(partial(service.origin, log=log, key=secret)) for log in _chosen(names)]

    for origin in on_database(settings, origins):
        click.echo(Verifier(origin, _own_keys(settings)[0]))


@audit.command()
@click.option("--log", "name", type=click.Choice(list(_LOGS)), default="audit", help="Which log.", show_default=True)
@click.option("--format", "form", type=click.Choice(["json", "csv"]), default="json", show_default=True)
@_out_option
def export(name: str, form: str, out: BinaryIO) -> None:
    """Write all sealed rows in the order of their leaves.

    As JSON, line n (from 0) is the very text that leaf n is the hash of: SHA-256 of a zero byte and the line without
    its end. Rows of the last few seconds, which are not sealed yet, are not among them.
    """
    writer = _JsonWriter(out) if form == "json" else _CsvWriter(out)

    async def pages(database: Database) -> None:
        begin = 0
        while rows := await database.read(partial(service.sealed_entries, log=_LOGS[name], begin=begin, limit=_PAGE)):
            writer.write(rows)
            begin += len(rows)

    try:
        on_database(load(os.environ), pages)
    except BrokenLog as fault:
        click.echo(f"leasebox: {fault}", err=True)
        sys.exit(WRONG)
    finally:
        writer.close()


class _JsonWriter:
    """The rows' own lines (entries.py)."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out

    def write(self, rows: Sequence[tuple[int, bytes]]) -> None:
        self._out.writelines(line + b"\n" for _, line in rows)

    def close(self) -> None:
        self._out.flush()


class _CsvWriter:
    """RFC 4180 with a header row; what is nested stays JSON."""

    def __init__(self, out: BinaryIO) -> None:
        self._text = io.TextIOWrapper(out, "utf-8", newline="", write_through=True)
        self._writer = csv.writer(self._text)
        self._headed = False

    def write(self, rows: Sequence[tuple[int, bytes]]) -> None:
        for leaf, line in rows:
            cells = msgspec.json.decode(line, type=dict[str, msgspec.Raw])
            if not self._headed:
                self._writer.writerow(["leaf", *cells])
                self._headed = True
            self._writer.writerow([leaf, *map(_cell, cells.values())])

    def close(self) -> None:
        self._text.detach()


def _cell(raw: msgspec.Raw) -> str:
    text = bytes(raw)
    if text.startswith(b'"'):
        return msgspec.json.decode(text, type=str)
    return "" if text == b"null" else text.decode()


async def _verify(
    database: Database, logs: Sequence[Log], trusted: Sequence[bytes], exported: Sequence[tuple[str, Exported]]
) -> list[Figures | Wrong]:
    """Each log in turn, with a bar on a terminal while it lasts."""
    found = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bars:
        for log in logs:
            bar = bars.add_task(log.name, total=None)
            kept = [each for name, each in exported if name == log.name]

            def show(done: int, total: int, bar: TaskID = bar) -> None:
                bars.update(bar, completed=done, total=total)

            found.append(await verify_log(database, log, trusted, kept, show))
    return found


def _told(found: Figures | Wrong) -> str:
    match found:
        case Wrong(log, leaf, row, what):
            leaf_words = "" if leaf is None else f"leaf {leaf}"
            subject = f"row {row} ({leaf_words})" if row and leaf_words else f"row {row}" if row else leaf_words
            return f"{log}: {subject} {what}" if subject else f"{log}: {what}"
        case Figures(log, rows, leaves, heads, root, sealed_at, unsealed):
            sealed = f"size {leaves}, root {base64.b64encode(root).decode()}, "
            sealed += f"sealed at {rfc3339(sealed_at)}" if sealed_at else "never sealed"
            return f"{log}: {rows} rows, {leaves} leaves, {heads} heads, not sealed yet: {unsealed}; {sealed}"


def _held_to(exported: Sequence[tuple[str, Exported]]) -> str:
    if exported:
        return f"all that {len(exported)} given {'head vouches' if len(exported) == 1 else 'heads vouch'} for is there"
    return "a log written anew as a whole shows only against a head kept elsewhere (leasebox audit head)"


def _notes(file: TextIO) -> list[str]:
    text = file.read(_MOST_CHARACTERS)
    notes = _NOTE.findall(text)
    if not notes or "".join(notes).replace("\n", "") != text.replace("\n", ""):
        refuse([f"{file.name}: not a file of signed heads, as `leasebox audit head` writes it"])
    return notes


def _exported(note: str, trusted: Sequence[bytes]) -> tuple[str, Exported]:
    """The log that a head is of, and the head. Refuses what no trusted key signed, and logs that we do not keep."""
    said = unchecked(note)
    if said is None:
        refuse(["a given head is malformed"])
    name = said.origin.rpartition("/")[2]
    if name not in _LOGS:
        refuse([f"a given head is of {said.origin}, no log of ours"])
    answer = read(note, [Verifier(said.origin, public) for public in trusted])
    if not isinstance(answer, Head):
        refuse([f"a head of {said.origin} with size {said.size} cannot be trusted ({answer.value}); see --key"])
    return name, Exported(note, answer)


def _given_key(text: str) -> bytes:
    found = Verifier.parse(text.strip())
    if found is None:
        refuse([f"{text}: not a verifier key, as `leasebox audit key` prints it"])
    return found.public


def _own_keys(settings: Settings) -> list[bytes]:
    """The current master key's, then the previous one's, if there is one."""
    masters = [each for each in (settings.secret, settings.secret_previous) if each is not None]
    return [Signer("leasebox", derive(each, Purpose.AUDIT_HEAD)).verifier.public for each in masters]


def _chosen(names: Sequence[str]) -> list[Log]:
    return [log for name, log in _LOGS.items() if not names or name in names]
