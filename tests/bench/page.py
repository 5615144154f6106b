"""Writes README's figures from `bench-results.json`: `python -m tests.bench.page` after `make bench` and `make growth`.

They stand between MARKS, where nobody edits by hand. What the results lack is left out of the table and said on stderr;
a peer that was absent is called so.
"""

import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, NamedTuple

from tests.bench.figures import RESULTS, Row

README = Path(__file__).parents[2] / "README.md"
MARKS = "<!-- begin of make bench -->\n", "<!-- end of make bench -->\n"


class Line(NamedTuple):
    """A line of the table. row: the name of its row, with `*` for what differs from run to run; of several the last.

    p99, cpu: rows that have these instead. beside: rows to compare with, by what they are called.
    """

    what: str
    row: str
    p99: str = ""
    cpu: str = ""
    beside: Mapping[str, str] = {}


_MILLIONS = "[0-9]* million messages"
_4KB, _100KB, _REPLY = "accept 4 KB, ", "accept 100 KB, ", ": content to reply, CPU with PostgreSQL"
_OURS = "leasebox, durable"
_MAIL = {
    "own parser without database": f"{_4KB}64 connections: leasebox, forgetting",
    "Postfix queueing": f"{_4KB}64 connections: Postfix, queueing",
    "smtp-source to Postfix": f"{_4KB}64 connections: smtp-source to Postfix, queueing",
    "Haraka discarding": f"{_4KB}64 connections: Haraka, discarding",
    "aiosmtpd forgetting": f"{_4KB}64 connections: aiosmtpd, forgetting",
    "smtp-sink forgetting": f"{_4KB}64 connections: smtp-sink, forgetting",
}


def _accepting(size: str, said: str, connections: str, beside: Mapping[str, str]) -> Line:
    name, source = f"{size}{connections}: {_OURS}", f"{size}{connections}: smtp-source to {_OURS}"
    sent = {"sent by Postfix's smtp-source": source, **beside}
    return Line(f"{said} accepted and committed, {connections}", name, f"{name}{_REPLY}", "", sent)


def _call(what: str, name: str, beside: Mapping[str, str]) -> Line:
    many = f"http: {name}, 16 in flight"
    return Line(what, f"http: {name}, one at a time", "", many, {"16 in flight": many, **beside})


def _grown(what: str, name: str) -> Line:
    return Line(f"{what}, * million messages stored", f"growth: {name}, {_MILLIONS}", beside=_sizes(name))


def _sizes(name: str) -> dict[str, str]:
    return {"empty": f"growth: {name}, empty", "1 million": f"growth: {name}, 1 million messages"}


_PEER_GET = {
    "bare Litestar": "peer: bare Litestar on granian, GET, 16 in flight",
    "Node": "peer: Node http, GET, 16 in flight",
}
_PEER_POST = {
    "bare Litestar": "peer: bare Litestar on granian, POST, 16 in flight",
    "Node": "peer: Node http, POST, 16 in flight",
}
_AFTER = {"after work": "memory: all processes, after*"}
LINES = (
    _accepting(_4KB, "4 KB", "64 connections", _MAIL),
    _accepting(_4KB, "4 KB", "16 connections", {}),
    _accepting(_4KB, "4 KB", "1 connection", {}),
    _accepting(_100KB, "100 KB", "64 connections", {}),
    _accepting(_100KB, "100 KB", "16 connections", {}),
    _accepting(_100KB, "100 KB", "1 connection", {}),
    Line("`DATA` end to `wait` answered, 1 mail/s", "mail: DATA end to `wait` answered, 1 mails/s"),
    Line("the same, 50 mails/s", "mail: DATA end to `wait` answered, 50 mails/s"),
    Line("the same, 500 mails/s", "mail: DATA end to `wait` answered, 500 mails/s"),
    Line("OTP mails that come at 1,500/s, read and visible", "parse: OTP mails at 1500/s: read and visible*"),
    Line("a mail read, OTP text of 0.8 KB", "read: otp text*"),
    Line("a mail read, HTML multipart of 50 KB", "read: html multipart*"),
    Line("a mail read, attachment of 5 MB", "read: attachment*"),
    _call("sign-in: challenge", "sign-in, challenge", {}),
    _call("sign-in: verify", "sign-in, verify", {}),
    _call("lease", "lease", {"pgbench, same statement": "peer: pgbench, lease, 16 clients", **_PEER_POST}),
    _call("release", "release", {"pgbench, same statement": "peer: pgbench, release, 16 clients"}),
    _call("list of 20 messages", "list of 20", _PEER_GET),
    _call("payment proof issued", "payment proof", {}),
    _call("lease that spends the proof", "lease with its proof", {}),
    Line("webhook, commit to request, 50 facts/s", "webhook: commit to request, *"),
    Line("webhook, one fact to 40 endpoints, the last of them", "webhook: one fact to 40 endpoints, *"),
    Line("webhook, deliveries of a burst", "webhook: * facts at once to 40 endpoints each"),
    Line("SSE, commit to event at each of 100 readers, 50 facts/s", "live: commit to SSE event, 100 reader(s), *"),
    Line("SSE, events to 100 readers", "live: the same, events told"),
    Line("start, empty home to first 200", "start: empty home to first 200"),
    Line("memory of all processes, idle", "memory: all processes, idle, * home (PSS)", beside=_AFTER),
    _grown("lease and release", "lease and release"),
    _grown("list of 20 of a mailbox", "list of 20, of a mailbox"),
    _grown("list of 20 of the tenant", "list of 20, of the tenant"),
    _grown("RCPT", "RCPT, any address"),
    Line("expired mail purged, * million messages stored", f"growth: purge, {_MILLIONS}"),
)


def main() -> int:
    """Write them into README; 1 where there are no results."""
    try:
        results = json.loads(RESULTS.read_text())
    except OSError:
        print(f"there is no {RESULTS.name}: run make bench", file=sys.stderr)
        return 1
    README.write_text(rewritten(README.read_text(), results))
    for name in missing(results):
        print(f"not in the results: {name}", file=sys.stderr)
    return 0


def rewritten(readme: str, results: Mapping[str, Any]) -> str:
    """README's text with new figures. ValueError when it lacks MARKS."""
    begin, end = MARKS
    before, found, rest = readme.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed:
        raise ValueError(f"README has no {begin.strip()} … {end.strip()}")
    return f"{before}{begin}{figures_text(results)}{end}{after}"


def figures_text(results: Mapping[str, Any]) -> str:
    """What was measured where, the table, and the targets."""
    rows = {each["name"]: each for each in results["rows"]}
    return "\n".join([*_where(results), "", *_table(rows), "", *_targets(results["targets"])]) + "\n"


def missing(results: Mapping[str, Any]) -> list[str]:
    """Rows that the table would show and the results lack."""
    rows = {each["name"]: each for each in results["rows"]}
    return [line.row for line in LINES if _found(rows, line.row) is None]


def _where(results: Mapping[str, Any]) -> Iterator[str]:
    told = dict(results["versions"])
    first = f"Run of {told.pop('run', 'an unknown day')}, on {told.pop('cpu', 'an unknown machine')}"
    growth = told.pop("growth", None)
    load = " ".join(f"{each:.1f}" for each in results["load"])
    yield f"{first}, Linux {told.pop('linux', 'unknown')}, load average {load} at its end."
    if growth is not None:
        yield f"Growth: run of {growth}."
    yield "Versions: " + ", ".join(f"{name} {version}" for name, version in told.items()) + "."


def _table(rows: Mapping[str, Row]) -> Iterator[str]:
    yield "| What | Median | p99 | CPU each | Beside it |"
    yield "|---|---:|---:|---:|---|"
    for line in LINES:
        row = _found(rows, line.row)
        if row is None or row["median"] is None:
            continue
        p99 = (_found(rows, line.p99) or {}) if line.p99 else row
        cpu = (_found(rows, line.cpu) or {}) if line.cpu else row
        beside = [said for name, pattern in line.beside.items() if (said := _beside(name, _found(rows, pattern), row))]
        what = re.sub(r"\*", lambda _, row=row: re.findall(r"[\d.,]+(?= million)", row["name"])[-1], line.what)
        cells = (
            what,
            _figure(row["median"], row["unit"]),
            _figure(p99.get("p99"), p99.get("unit", "")),
            _figure(cpu.get("cpu_us"), "µs"),
            ", ".join(beside),
        )
        yield f"| {' | '.join(cells)} |"


def _beside(name: str, other: Row | None, row: Row) -> str:
    if other is None or other is row:
        return ""
    if other["median"] is None:
        return f"{name}: absent"
    unit = "" if other["unit"] == row["unit"] else other["unit"]
    return f"{name}: {_figure(other['median'], unit)}"


def _targets(targets: Sequence[Row]) -> Iterator[str]:
    """Those that hold in one paragraph, the others each on a line of its own."""
    held = [each for each in targets if each["holds"]]
    missed = [each for each in targets if each["holds"] is False]
    yield f"Targets: {len(held)} hold, {len(missed)} are missed."
    if missed:
        yield ""
        yield from (f"- missed: {_target(each)}" for each in missed)
    yield from (f"- not measured: {each['name']}" for each in targets if each["holds"] is None)
    if held:
        yield ""
        yield f"Held: {'; '.join(map(_target, held))}."


def _target(each: Row) -> str:
    bound = "at least" if (each["got"] > each["want"]) is each["holds"] else "at most"
    return f"{each['name']} {_number(each['got'])}, {bound} {_number(each['want'])}"


def _found(rows: Mapping[str, Row], pattern: str) -> Row | None:
    found = [row for name, row in rows.items() if fnmatchcase(name, pattern)]
    return found[-1] if found else None


def _figure(value: float | None, unit: str) -> str:
    return "" if value is None else f"{_number(value)} {unit}".rstrip()


def _number(value: float) -> str:
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


if __name__ == "__main__":
    sys.exit(main())
