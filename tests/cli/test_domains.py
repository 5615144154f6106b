"""`leasebox domains`, over real HTTP."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from leasebox.cli.domains import domains
from tests.cli.agent_home import Home, home, succeeded
from tests.client.fake_server import Answer, problem
from tests.client.test_domains import DOMAIN, PATH

VERIFIED: dict[str, Any] = DOMAIN | {"status": "verified", "domain": "xn--bcher-kva.test", "domain_id": "dom_02"}


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Home]:
    with home(tmp_path) as made:
        yield made


def run(machine: Home, *args: str) -> Result:
    return machine.run(domains, *args, LEASEBOX_TOKEN=machine.server.issue())


def listing(machine: Home) -> None:
    machine.server.script["GET", PATH] = [Answer(200, json={"items": [DOMAIN, VERIFIED], "next_cursor": None})]


def test_add_shows_what_to_publish(machine: Home) -> None:
    machine.server.script["POST", PATH] = [Answer(201, json=DOMAIN)]
    shown = succeeded(run(machine, "add", "acme.test")).stdout
    assert "10 mx.box.example" in shown
    assert "v=spf1 a:mx.box.example ~all" in shown
    assert "wrong, required" in shown
    assert "5 evil.test" in shown, "what a stranger's DNS says cannot turn the terminal's text around"


def test_list(machine: Home) -> None:
    listing(machine)
    shown = succeeded(run(machine, "list")).stdout
    assert all(each in shown for each in ("acme.test", "dom_01", "xn--bcher-kva.test", "verified", "mx"))
    listing(machine)
    items = json.loads(succeeded(run(machine, "list", "--json")).stdout)["items"]
    assert [each["domain_id"] for each in items] == ["dom_01", "dom_02"]


@pytest.mark.parametrize(
    ("named", "wanted"),
    [("acme.test", "dom_01"), ("ACME.test.", "dom_01"), ("Bücher.test", "dom_02"), ("xn--bcher-kva.test", "dom_02")],
)
def test_a_domain_is_named_in_any_spelling(machine: Home, named: str, wanted: str) -> None:
    listing(machine)
    machine.server.script["DELETE", f"{PATH}/{wanted}"] = [Answer(204)]
    told = json.loads(succeeded(run(machine, "remove", named, "--json")).stdout)
    assert (told["domain_id"], told["removed"]) == (wanted, True)


@pytest.mark.parametrize("named", ["other.test", "no domain", ""])
def test_one_that_is_not_there_is_status_1(machine: Home, named: str) -> None:
    listing(machine)
    done = run(machine, "verify", named)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "what to do:" in done.stderr


def test_records_by_id_and_as_a_zone_file(machine: Home) -> None:
    machine.server.script["GET", f"{PATH}/dom_01"] = [Answer(200, json=DOMAIN)] * 3
    machine.server.script["GET", f"{PATH}/dom_01/zone-file"] = [Answer(200, text='; a\nb. 1 IN TXT "c"\n')] * 2
    assert "mx.box.example" in succeeded(run(machine, "records", "dom_01")).stdout
    assert succeeded(run(machine, "records", "dom_01", "--zone")).stdout == '; a\nb. 1 IN TXT "c"\n'
    told = json.loads(succeeded(run(machine, "records", "dom_01", "--zone", "--json")).stdout)
    assert told["zone_file"].startswith("; a")


def test_verify_ends_with_3_until_it_is(machine: Home) -> None:
    machine.server.script["GET", f"{PATH}/dom_01"] = [Answer(200, json=DOMAIN)] * 2
    verify = ("POST", f"{PATH}/dom_01/verify")
    machine.server.script[verify] = [Answer(200, json=DOMAIN), Answer(200, json=DOMAIN | {"status": "verified"})]
    waiting = run(machine, "verify", "dom_01")
    assert waiting.exit_code == 3
    assert "pending" in waiting.stdout
    assert "verified" in succeeded(run(machine, "verify", "dom_01")).stdout


def test_refusals_and_wrong_use(machine: Home) -> None:
    machine.server.script["POST", PATH] = [problem(422, "unprocessable")]
    assert run(machine, "add", "localhost").exit_code == 1
    assert run(machine, "add").exit_code == 2
    assert run(machine, "nonsense").exit_code == 2
