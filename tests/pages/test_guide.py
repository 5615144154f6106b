"""The guide tells the truth: its commands run, its codes exist, its links lead somewhere."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import leasebox.identity.errors
import leasebox.infra.web.body
import leasebox.leases.claims_errors
import leasebox.leases.errors
import leasebox.mail.errors
import leasebox.sending.errors
from leasebox.pages.guide import front_page, guide_markdown, guide_page, llms_text
from leasebox.values.errors import LeaseboxError
from tests.client.fake_server import serving
from tests.pages.facts import FACTS

TOLD_OF = (
    "leasebox.values.errors",
    leasebox.identity.errors.__name__,
    leasebox.infra.web.body.__name__,
    leasebox.leases.claims_errors.__name__,
    leasebox.leases.errors.__name__,
    leasebox.mail.errors.__name__,
    leasebox.sending.errors.__name__,
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", guide_markdown(FACTS), re.DOTALL)


def leaves(kind: type[LeaseboxError]) -> set[type[LeaseboxError]]:
    under = kind.__subclasses__()
    return {kind} if not under else {leaf for each in under for leaf in leaves(each)}


def test_the_commands_run_in_order(tmp_path: Path) -> None:
    if not (shutil.which("curl") and shutil.which("jq") and shutil.which("bash")):
        pytest.skip("curl, jq or bash is absent")
    by_hand = "\n".join(blocks("sh")[:-1]).replace(
        'curl -sS "smtp://mx.box.example:25" --mail-from noreply@shop.example --mail-rcpt "$ADDRESS" --upload-file',
        "cat",
    )
    assert "smtp://" not in by_hand
    with serving() as server:
        script = "set -eu\n" + by_hand.replace(FACTS.base_url, server.url)
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=tmp_path,
            env={"PATH": path, "HOME": str(tmp_path)},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert "428193" in done.stdout
        assert '"lease_status":"released"' in done.stdout.replace(" ", "")
        assert server.paths() == [
            "GET /v2/meta/runtime",
            "POST /v2/auth/siwe/challenge",
            "POST /v2/auth/siwe/verify",
            "POST /v2/mailboxes/leases",
            "GET /v2/messages/wait",
            "GET /v2/messages/msg_01",
            "POST /v2/mailboxes/leases/lse_01/release",
        ]
    assert (tmp_path / "wallet.key").stat().st_mode & 0o077 == 0


def test_the_python_client_is_shown_as_it_is() -> None:
    (program,) = blocks("python")
    with serving() as server:
        done = subprocess.run(
            [sys.executable, "-c", program.replace(FACTS.base_url, server.url)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
    assert done.stdout == "use this address: quiet-otter@inbox.example\n428193\n", done.stderr


def test_every_refusal_is_in_the_table() -> None:
    codes = {each.code for each in leaves(LeaseboxError) if each.__module__ in TOLD_OF}
    told = set(re.findall(r"^\| \d{3} \| `(\w+)`", guide_markdown(FACTS), re.MULTILINE))
    assert {"lease_ended", "address_taken", "missing_scope"} <= codes
    assert codes <= told


def test_links_within_the_guide_lead_somewhere() -> None:
    page = guide_page(FACTS)
    ids = set(re.findall(r' id="([^"]+)"', page))
    assert set(re.findall(r'href="#([^"]+)"', page)) <= ids
    assert len(re.findall(r' id="', page)) == len(ids)


def test_it_tells_of_this_instance() -> None:
    text = guide_markdown(msgspec.structs.replace(FACTS, base_url="https://other.example", retention_hours=5))
    assert 'export API_BASE="https://other.example"' in text
    assert "5 hours" in text
    assert "{{" not in text
    assert FACTS.base_url not in text


def test_it_does_not_promise_what_is_not_there() -> None:
    everything = guide_markdown(FACTS) + llms_text(FACTS) + front_page(FACTS)
    for word in ("/v2/payments", "/v2/webhooks", "/v2/messages/send", "/v2/usage", "x-payment-proof", "/v2/runs"):
        assert word not in everything


def test_facts_are_escaped() -> None:
    hostile = msgspec.structs.replace(FACTS, chain_name="<script>alert(1)</script>", version='"><img>')
    for page in (guide_page(hostile), front_page(hostile)):
        assert "<script" not in page
        assert "<img" not in page
        assert "&lt;script&gt;" in page


def test_the_front_page_shows_what_matters() -> None:
    page = front_page(FACTS)
    for part in ("<code>inbox.example</code>", "mx.box.example:25", "Base Sepolia", "/agents-guide", "/docs"):
        assert part in page


def test_llms_txt_has_its_form() -> None:
    lines = llms_text(FACTS).split("\n")
    assert lines[0] == "# leasebox"
    assert lines[2].startswith("> ")
    assert [line for line in lines if line.startswith("## ")] == ["## Docs", "## Optional"]
    links = [line for line in lines if line.startswith("- [")]
    assert links
    assert all(re.match(r"- \[[^\]]+\]\(https://box\.example/\S+\): \S", line) for line in links)
