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
from typing import Annotated, BinaryIO, TextIO

import click
import msgspec
from rich.console import Console
from rich.progress import Progress, TaskID

from leasebox.audit import service
from leasebox.audit.errors import BrokenLog, NoSuchSize
from leasebox.audit.heads import Head, Signer, Verifier, extends, read, unchecked
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


_Pairs = dict[str, tuple[Head, Head]]
"""The older and the newer head by log."""


class _Extension(msgspec.Struct, rename={"begin": "from", "end": "to"}):
    """As the admin's route gives it."""

    log: str
    begin: int
    end: int
    path: list[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]]


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
@click.argument("old", type=click.File())
@click.argument("new", type=click.File())
@click.option("--proof", "given", type=click.File("rb"), help="Check these proofs, and ask no database.")
@click.option("--key", "keys", multiple=True, help="A public key to trust, as `audit key` prints it.")
@_log_option
@_out_option
def consistency(
    old: TextIO, new: TextIO, given: BinaryIO | None, keys: Sequence[str], names: Sequence[str], out: BinaryIO
) -> None:
    """Prove that between two heads a log was only added to; status 1 where it was not.

    OLD and NEW are files of signed heads (`audit head`). The proofs are checked, then written, a JSON line for each log
    as `GET /v2/admin/audit/consistency` gives it. With --proof and --key anybody checks them, without our database and
    our master key.
    """
    trusted = [*map(_given_key, keys)]
    trusted += [] if given and keys else _own_keys(load(os.environ))
    before, after = dict(_heads(old, trusted)), dict(_heads(new, trusted))
    both = [log.name for log in _chosen(names) if log.name in before and log.name in after]
    pairs = {name: (before[name], after[name]) for name in both}
    if not pairs or any(older.size > newer.size for older, newer in pairs.values()):
        refuse(["OLD and NEW are no heads of the same log, the older one first"])
    proofs = _given_proofs(given, pairs) if given else _made_proofs(pairs)
    for name, (older, newer) in pairs.items():
        if not extends(older, newer, [bytes.fromhex(each) for each in proofs[name].path]):
            click.echo(f"{name}: size {newer.size} does not begin with what size {older.size} was", err=True)
            sys.exit(WRONG)
        click.echo(f"{name}: from size {older.size} to size {newer.size} it was only added to", err=not given)
    if not given:
        out.writelines(msgspec.json.encode(each) + b"\n" for each in proofs.values())


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


def _made_proofs(pairs: _Pairs) -> dict[str, _Extension]:
    """By log, from the database. Ends with status 1 where it does not hold what the heads vouch for."""

    async def made(database: Database) -> dict[str, _Extension]:
        return {name: await _proved(database, name, *pair) for name, pair in pairs.items()}

    try:
        return on_database(load(os.environ), made)
    except (BrokenLog, NoSuchSize) as fault:
        click.echo(f"leasebox: {fault}", err=True)
        sys.exit(WRONG)


async def _proved(database: Database, name: str, older: Head, newer: Head) -> _Extension:
    if older.size == 0:
        return _Extension(name, 0, newer.size, [])
    proof = await database.read(partial(service.prove_extension, log=_LOGS[name], old=older.size, new=newer.size))
    return _Extension(name, older.size, newer.size, [each.hex() for each in proof])


def _given_proofs(file: BinaryIO, pairs: _Pairs) -> dict[str, _Extension]:
    """By log, each of the very sizes that the heads have. Refuses what is no proof, and a missing one."""
    try:
        found = msgspec.json.Decoder(_Extension).decode_lines(file.read(_MOST_CHARACTERS))
    except msgspec.MsgspecError as fault:
        refuse([f"{file.name}: not proofs, a JSON object a line: {fault}"])
    proofs = {}
    for name, (older, newer) in pairs.items():
        fit = [each for each in found if (each.log, each.begin, each.end) == (name, older.size, newer.size)]
        if not fit:
            refuse([f"{file.name}: no proof for {name} from size {older.size} to {newer.size}"])
        proofs[name] = fit[0]
    return proofs


def _heads(file: TextIO, trusted: Sequence[bytes]) -> list[tuple[str, Head]]:
    return [(name, each.head) for name, each in (_exported(note, trusted) for note in _notes(file))]


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
