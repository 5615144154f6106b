"""The guide tells the truth: its commands run, its codes exist, its links lead somewhere."""

import json
import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from standardwebhooks import Webhook

import leasebox.billing.errors
import leasebox.identity.errors
import leasebox.infra.web.body
import leasebox.leases.claims_errors
import leasebox.leases.domains_errors
import leasebox.leases.errors
import leasebox.live.errors
import leasebox.mail.errors
import leasebox.sending.errors
import leasebox.webhooks.errors
from leasebox.pages.guide import front_page, guide_markdown, guide_page, llms_text
from leasebox.values.errors import LeaseboxError
from leasebox.values.facts import FACTS as PUBLIC_FACTS
from leasebox.values.facts import example_of
from leasebox.values.ids import EventId
from leasebox.values.secret import Secret
from leasebox.webhooks.signing import headers as sign
from leasebox.webhooks.signing import make_secret
from tests.client.fake_server import serving
from tests.pages.facts import FACTS

TOLD_OF = (
    "leasebox.values.errors",
    leasebox.billing.errors.__name__,
    leasebox.identity.errors.__name__,
    leasebox.infra.web.body.__name__,
    leasebox.leases.claims_errors.__name__,
    leasebox.leases.domains_errors.__name__,
    leasebox.leases.errors.__name__,
    leasebox.live.errors.__name__,
    leasebox.mail.errors.__name__,
    leasebox.sending.errors.__name__,
    leasebox.webhooks.errors.__name__,
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
            "POST /v2/messages/send",
            "GET /v2/send-attempts/snd_01",
            "GET /v2/threads/thr_01",
            "POST /v2/mailboxes/leases/lse_01/release",
        ]
    assert (tmp_path / "wallet.key").stat().st_mode & 0o077 == 0


def test_the_python_client_is_shown_as_it_is() -> None:
    waiting, writing = (each for each in blocks("python") if "Client(" in each)
    for program, said in (
        (waiting, "use this address: quiet-otter@inbox.example\n428193\n"),
        (writing, "inbound Lunch?\noutbound Yes\n"),
    ):
        with serving() as server:
            argv = [sys.executable, "-c", program.replace(FACTS.base_url, server.url)]
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
        assert done.stdout == said, done.stderr


def deliveries() -> list[tuple[str, dict[str, str], str, bool]]:
    """Secret, headers and body of a delivery, and whether it is one of ours."""
    secret, body = make_secret(), '{"event_id": "evt_1", "caf\u00e9": true}'
    now, event_id = datetime.now(UTC), EventId.new(datetime.now(UTC))

    def signed(at: datetime, *secrets: Secret) -> dict[str, str]:
        return sign(secrets, event_id, at, body.encode())

    good, old = signed(now, secret), signed(now - timedelta(minutes=6), secret)
    return [
        (secret.reveal(), good, body, True),
        (secret.reveal(), signed(now, make_secret(), secret), body, True),
        (secret.reveal(), old, body, False),
        (secret.reveal(), good, body + " ", False),
        (make_secret().reveal(), good, body, False),
        (secret.reveal(), {**good, "webhook-id": "evt_2"}, body, False),
        (secret.reveal(), {**good, "webhook-timestamp": "soon"}, body, False),
        (secret.reveal(), {**good, "webhook-signature": ""}, body, False),
    ]


def test_the_python_that_verifies_a_signature_does() -> None:
    (program,) = (each for each in blocks("python") if "def verify" in each)
    shown: dict[str, Any] = {}
    exec(program, shown)
    for secret, headers, body, ours in deliveries():
        assert shown["verify"](secret, headers, body.encode()) is ours, headers
    secret, headers, body, _ = deliveries()[0]
    assert Webhook(secret).verify(body, headers), "as the library that others use judges"


def test_the_typescript_that_verifies_a_signature_does(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is absent")
    (program,) = blocks("ts")
    # Types are for the reader; not every node can drop them by itself.
    plain = re.sub(r": (string|boolean|Headers)\b", "", program)
    (tmp_path / "verify.mjs").write_text(plain)
    cases = [[secret, headers, body] for secret, headers, body, _ in deliveries()]
    (tmp_path / "run.mjs").write_text(
        f"import {{ verify }} from './verify.mjs';\nconst cases = {json.dumps(cases)};\n"
        "console.log(JSON.stringify(cases.map(([s, h, b]) => verify(s, new Headers(h), b))));\n"
    )
    done = subprocess.run([node, tmp_path / "run.mjs"], capture_output=True, text=True, check=False, timeout=60)
    assert json.loads(done.stdout) == [ours for *_, ours in deliveries()], done.stderr


def test_every_refusal_is_in_the_table() -> None:
    codes = {each.code for each in leaves(LeaseboxError) if each.__module__ in TOLD_OF}
    rows = re.findall(r"^\| \d{3} \| (`\w+`(?:, `\w+`)*) \|", guide_markdown(FACTS), re.MULTILINE)
    told = {code for row in rows for code in re.findall(r"\w+", row)}
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
    for word in ("/v2/runs", "/webmail", "IMAP", "x402", "MTA-STS"):
        assert word not in everything


def test_every_type_of_event_is_told_with_what_it_carries() -> None:
    text = guide_markdown(FACTS)
    for name, each in PUBLIC_FACTS.items():
        (row,) = re.findall(rf"^\| `{re.escape(name)}` \| .*$", text, re.MULTILINE)
        assert all(f"`{field}`" in row for field in each.example)
    shown = json.loads(next(each for each in blocks("json") if "event_id" in each))
    assert shown == msgspec.to_builtins(example_of("message.received"))


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
