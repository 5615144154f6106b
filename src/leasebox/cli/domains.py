"""`leasebox domains`: bring a domain of one's own, publish its records, verify it."""

import click
from rich.console import Console

from leasebox.cli.agent_output import NOTHING_CAME, AgentCommand, answer, facts, one_line, plain, table
from leasebox.cli.agent_session import open_client
from leasebox.client import Client, ClientError, DnsRecord, Domain
from leasebox.values.addresses import MalformedAddress, canonical_domain


class NoSuchDomain(ClientError):
    """None of yours goes by that name."""

    error = "no_such_domain"


@click.group()
def domains() -> None:
    """Bring domains of your own, to lease addresses at."""


@domains.command(cls=AgentCommand)
@click.argument("domain")
def add(domain: str) -> None:
    """Bring DOMAIN along and show the records to publish."""
    with open_client() as box:
        made = box.domains.add(domain)
    answer(made, lambda console: _draw(console, made))


@domains.command("list", cls=AgentCommand)
def list_() -> None:
    """List your domains, newest first."""
    with open_client() as box:
        found = list(box.domains)
    rows = [(each.domain, each.status, each.reason, _open_records(each), each.domain_id) for each in found]
    headings = ("domain", "status", "reason", "records not found", "id")
    answer({"items": found}, lambda console: console.print(table(headings, rows)))


@domains.command(cls=AgentCommand)
@click.argument("domain")
@click.option("--zone", is_flag=True, help="As a zone file, to be imported where the domain's DNS is kept.")
def records(domain: str, zone: bool) -> None:
    """Show what DOMAIN (a name or its id) needs in the DNS, and what the last check found."""
    with open_client() as box:
        found = find_domain(box, domain)
        text = box.domains.zone_file(found.domain_id) if zone else ""
    if zone:
        answer({"domain_id": found.domain_id, "zone_file": text}, lambda console: click.echo(plain(text), nl=False))
    else:
        answer(found, lambda console: _draw(console, found))


@domains.command(cls=AgentCommand)
@click.argument("domain")
def verify(domain: str) -> None:
    """Have the records of DOMAIN looked up now. Ends with status 3 while it is not verified."""
    with open_client() as box:
        found = box.domains.verify(find_domain(box, domain).domain_id)
    answer(found, lambda console: _draw(console, found))
    if found.status != "verified":
        click.get_current_context().exit(NOTHING_CAME)


@domains.command(cls=AgentCommand)
@click.argument("domain")
def remove(domain: str) -> None:
    """Give DOMAIN up. Refused while live leases stand on it."""
    with open_client() as box:
        found = find_domain(box, domain)
        box.domains.remove(found.domain_id)
    told = {"domain_id": found.domain_id, "domain": found.domain, "removed": True}
    answer(told, lambda console: click.echo(one_line(f"removed {found.domain}")))


def find_domain(box: Client, named: str) -> Domain:
    """Your domain of that name (in any spelling) or id. Raises NoSuchDomain."""
    if named.startswith("dom_"):
        return box.domains.get(named)
    wanted = {named.lower().removesuffix("."), _ascii(named)}
    found = next((each for each in box.domains if each.domain in wanted), None)
    if found is None:
        raise NoSuchDomain(f"You have no domain {named}.", fix="Run `leasebox domains list`, or add it first.")
    return found


def _ascii(name: str) -> str:
    try:
        return canonical_domain(name.removesuffix("."))
    except MalformedAddress:
        return name


def _open_records(found: Domain) -> str:
    left = [each.purpose for each in found.records if each.state != "found" and each.keep_until is None]
    return ", ".join(dict.fromkeys(left))


def _draw(console: Console, found: Domain) -> None:
    rows = [
        ("domain", found.domain),
        ("status", found.status + (f" ({found.reason})" if found.reason else "")),
        ("id", found.domain_id),
    ]
    console.print(facts(rows))
    for each in found.records:
        console.print()
        console.print(facts(_record_rows(each)), soft_wrap=True)


def _record_rows(record: DnsRecord) -> list[tuple[str, str | None]]:
    value = record.value if record.priority is None else f"{record.priority} {record.value}"
    state = record.state + (", required" if record.required and record.state != "found" else "")
    return [
        (record.type, record.name),
        ("value", value),
        ("state", state),
        ("seen", "\n".join(map(one_line, record.seen)) if record.state == "wrong" else None),
        ("until", None if record.keep_until is None else f"{record.keep_until:%Y-%m-%d}: retired key"),
    ]
