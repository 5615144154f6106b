"""No secret stands anywhere but where it was handed out: canaries through good and bad requests at debug level.

Looked through afterwards: the log of every process and engine, every answer but the one that gives the secret, metrics,
the arguments of every process, all rows of all tables as text, and what an owner sees.
"""

import asyncio
import base64
import os
import re
import signal
import smtplib
import ssl
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from eth_account import Account

from leasebox.infra import db, ports
from leasebox.infra.embedded import attach
from leasebox.leases import dkim_keys, dkim_store
from leasebox.values.keys import Purpose, derive, ring
from leasebox.values.secret import Secret
from tests.admin.desk import ask_admin
from tests.infra.homes import argv, offspring
from tests.instance import Instance, up
from tests.kit import Agent, sign

OWNER = Account.create()
MASTER, RELAY, RPC = "c4naryMasterKeyThatNobodyMaySee0123456789", "c4naryRelayPassw0rd", "c4naryRpcProjectKey0123"
FORMER = "c4naryFormerMasterKeyThatNobodyMaySee9876543210"
LEASES, PROOF, HOOKS = "/v2/mailboxes/leases", "/v2/payments/proof", "/v2/webhooks"


class Kept:
    """The secrets by name, keys that are octets, and every answer that has no business to show one."""

    def __init__(self) -> None:
        self.secrets: dict[str, str] = {
            "LEASEBOX_SECRET": MASTER,
            "LEASEBOX_SECRET_PREVIOUS": FORMER,
            "relay password": RELAY,
            "RPC key": RPC,
        }
        self.keys: dict[str, bytes] = {}
        self.answers: list[tuple[str, str]] = []

    def needles(self) -> Iterator[tuple[str, str]]:
        """Each secret's middle half in every form that it could stand in: a key's own ends may be shown as a hint."""
        for name, secret in self.secrets.items():
            part = _middle(secret.encode())
            yield name, part.decode()
            yield from _encoded(name, part)
        for name, key in self.keys.items():
            yield from _encoded(name, _middle(key))

    def found_in(self, text: str) -> list[str]:
        return [name for name, needle in self.needles() if needle in text]

    async def ask(self, http: httpx.AsyncClient, method: str, path: str, **more: Any) -> httpx.Response:
        """A request of which nothing in the answer may be secret."""
        answer = await http.request(method, path, **more)
        body = answer.text
        if answer.headers.get("content-type", "").startswith("application/problem+json"):
            # Who asked for a path is told which one it was (RFC 9457 §3.1.5); it was not secret from him.
            body = "".join(f"{name}: {value}\n" for name, value in answer.json().items() if name != "instance")
        self.answers.append((f"{method} {path[:40]} {answer.status_code}", f"{answer.headers} {body}"))
        return answer


def _middle(secret: bytes) -> bytes:
    quarter = len(secret) // 4
    part = secret[quarter:-quarter]
    assert len(part) >= 8
    return part


def _encoded(name: str, part: bytes) -> Iterator[tuple[str, str]]:
    yield f"{name}, hexadecimal", part.hex()
    # Base64 depends on where a text begins within three octets.
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + part).decode()[4:-4]
        yield f"{name}, base64", text
        yield f"{name}, base64 for URLs", text.translate(str.maketrans("+/", "-_"))


@pytest.fixture(scope="module")
def submission() -> int:
    """The port where mailboxes hand in mail."""
    return ports.claim("127.0.0.1", 0)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, submission: int) -> Iterator[Instance]:
    settings = {
        "LEASEBOX_LOG_LEVEL": "debug",
        "LEASEBOX_SECRET": MASTER,
        "LEASEBOX_SECRET_PREVIOUS": FORMER,
        "LEASEBOX_SUBMISSION": f"127.0.0.1:{submission}",
        "LEASEBOX_RELAY": f"smtp://sender:{RELAY}@127.0.0.1:9",
        "LEASEBOX_RPC_URL": f"http://user:{RPC}@127.0.0.1:9/v2/{RPC}",
        "LEASEBOX_ADMIN_WALLETS": OWNER.address,
        "LEASEBOX_CLAIM_CONFIRM": "headless",
        "LEASEBOX_TENANT_RATE": "0",
        "LEASEBOX_SIGNIN_RATE": "0",
        "LEASEBOX_CLAIM_RATE": "0",
    }
    with up(tmp_path_factory.mktemp("canary") / "home", **settings) as running:
        yield running


@pytest.fixture
async def http(instance: Instance) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=instance.url, timeout=30) as client:
        yield client


@pytest.mark.timeout(240)
async def test_no_canary_stands_anywhere(instance: Instance, http: httpx.AsyncClient, submission: int) -> None:
    kept = Kept()
    for engine in ("postgres", "valkey"):
        kept.secrets[f"{engine} password"] = (instance.home / engine / "password").read_text()
    agent = await _earn(kept, http)
    async with httpx.AsyncClient(base_url=instance.url, timeout=30) as desk:
        await _sign_in_as_owner(kept, desk)
        await _succeed(kept, agent)
        await _fail(kept, instance)
        await _submit(kept, instance)
        await asyncio.to_thread(_sign_in_to_submission, kept, submission)
        await _find_keys(kept, instance)
        await _lose_the_database(kept, instance, agent)
        await _look_around(kept, agent.http)
        await _look_around(kept, desk, admin="/admin")
    assert len(kept.secrets) == 19
    assert len(kept.keys) == 2 * len(Purpose) + 3
    assert sum(place.startswith("GET") and place.endswith(" 200") for place, _ in kept.answers) > 60
    found = [(place, each) for place, answer in kept.answers for each in kept.found_in(answer)]
    found += [(str(place), each) for place, text in _written(instance) for each in kept.found_in(text)]
    found += [(table, each) for table, text in await _tables(instance) for each in kept.found_in(text)]
    assert not found, "\n".join(f"{name}: {place}" for place, name in found)


async def test_a_canary_in_any_form_would_be_found() -> None:
    kept = Kept()
    kept.secrets = {"one": "a-secret-of-some-length-0123456789"}
    kept.keys = {"two": bytes(range(40))}
    secret = kept.secrets["one"].encode()
    for shown in (secret, secret.hex().encode(), base64.b64encode(b"x" + secret), base64.b64encode(b"xyz" + secret)):
        assert kept.found_in(f"before {shown.decode()} after"), shown
    for shown in (kept.keys["two"].hex(), base64.b64encode(b"x" + kept.keys["two"]).decode()):
        assert kept.found_in(f"before {shown} after"), shown
    assert kept.found_in("another text altogether") == []


async def _earn(kept: Kept, http: httpx.AsyncClient) -> Agent:
    """Everything that an agent is given once: each answer here is the one place where its secret may stand."""
    wallet = Account.create()
    made = (await http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address})).json()
    kept.secrets["wallet signature"] = sign(wallet, made["message"])
    body = {"message": made["message"], "signature": kept.secrets["wallet signature"]}
    agent = Agent(http, wallet, (await http.post("/v2/auth/siwe/verify", json=body)).json())
    kept.secrets["access token"] = agent.session["access_token"]
    lease = await agent.lease(local_part="canary")
    kept.secrets["mailbox password"] = lease["webmail_password"]
    reset = await http.post(f"/v2/mailboxes/accounts/{lease['mailbox_id']}/credentials/reset")
    kept.secrets["second mailbox password"] = reset.json()["webmail_password"]
    once = {"idempotency-key": "canary"}
    key = {"name": "canary", "scopes": ["mail:read"]}
    kept.secrets["API key"] = _only_secret(await http.post("/v2/api-keys", json=key, headers=once), "lb_")
    for _ in range(6):
        await http.post(LEASES, json={"agent_id": agent.agent_id, "purpose": "x", "ttl_hours": 1})
    proof = await http.post(PROOF, json={"method": "POST", "path": LEASES})
    kept.secrets["payment proof"] = proof.json()["x_payment_proof"]
    claim = (await http.post("/v2/claims", json={"name": "canary-claim"})).json()
    kept.secrets["claim token"], kept.secrets["claim link"] = (
        claim["claim_token"],
        claim["claim_url"].rpartition("/")[2],
    )
    by_token = {"authorization": f"Bearer {claim['claim_token']}"}
    confirmed = await http.post(f"/v2/claims/{claim['session_id']}/confirm", headers=by_token)
    kept.secrets["claimed key"] = confirmed.json()["api_key"]
    return agent


def _only_secret(answer: httpx.Response, prefix: str) -> str:
    assert answer.status_code == 201, answer.text
    found = re.search(rf"{prefix}[\w+/=-]{{20,}}", answer.text)
    assert found, answer.text
    return found[0]


async def _sign_in_as_owner(kept: Kept, desk: httpx.AsyncClient) -> None:
    session = (await ask_admin(desk, OWNER)).json()
    kept.secrets["admin token"] = session["access_token"]
    desk.headers["authorization"] = f"Bearer {session['access_token']}"


async def _succeed(kept: Kept, agent: Agent) -> None:
    """Requests that bring secrets along and are answered well. The webhook's answer shows its secret, once."""
    hook = {"event_types": ["message.received"], "target_url": "https://hooks.example/canary"}
    made = await agent.http.post(HOOKS, json=hook)
    assert made.status_code == 201, made.text
    kept.secrets["webhook secret"] = _only_secret(made, "whsec_")
    rotated = await agent.http.post(f"{HOOKS}/{made.json()['webhook_id']}/rotate-secret")
    assert rotated.status_code == 200, rotated.text
    kept.secrets["second webhook secret"] = rotated.json()["secret"]
    assert (await agent.http.post("/v2/domains", json={"domain": "canary.mail-example.org"})).status_code == 201
    order = {"agent_id": agent.agent_id, "purpose": "paid", "ttl_hours": 1}
    sent = {"x-payment-proof": kept.secrets["payment proof"], "idempotency-key": "paid"}
    paid = await agent.http.post(LEASES, json=order, headers=sent)
    assert paid.status_code == 201, paid.text
    kept.secrets["third mailbox password"] = paid.json()["webmail_password"]
    keyed = {"authorization": f"Bearer {kept.secrets['API key']}"}
    assert (await kept.ask(agent.http, "GET", "/v2/auth/me", headers=keyed)).status_code == 200


async def _fail(kept: Kept, instance: Instance) -> None:
    """Every secret in every place where a confused client could put it; all of it is refused or does nothing."""
    async with httpx.AsyncClient(base_url=instance.url, timeout=30) as http:
        for secret in kept.secrets.values():
            for scheme in ("Basic", "Bearer x", "Token"):
                await kept.ask(http, "GET", "/v2/auth/me", headers={"authorization": f"{scheme}{secret}"})
            wrong = {"authorization": f"Bearer {secret[:-1]}"}
            await kept.ask(http, "GET", "/v2/messages", headers=wrong)
            right = {"authorization": f"Bearer {kept.secrets['access token']}"}
            path = secret.replace("/", "_").replace("%", "_").replace("?", "_").replace("#", "_")
            for tail in (
                f"/v2/messages/{path}",
                f"{LEASES}/{path}",
                f"/v2/claims/{path}",
                f"/claims/{path}x",
                f"/{path}",
            ):
                await kept.ask(http, "GET", tail, headers=right)
            await kept.ask(http, "GET", "/v2/messages", params={"token": secret}, headers=right)
            await kept.ask(http, "GET", "/v2/messages", params={"cursor": secret, "since": secret}, headers=right)
            for body in ({"purpose": {"x": secret}}, {"agent_id": secret, "purpose": "x", "ttl_hours": 1}, [secret]):
                await kept.ask(http, "POST", LEASES, json=body, headers=right)
            await kept.ask(http, "POST", LEASES, content=f'{{"purpose": "{secret}', headers=right)
            for field in ({"x-payment-proof": secret}, {"idempotency-key": f"{secret} x"}, {"cookie": f"s={secret}"}):
                order = {"agent_id": "agt_x", "purpose": "x", "ttl_hours": 1}
                await kept.ask(http, "POST", LEASES, json=order, headers={**right, **field})
            signed = {"message": f"sign in {secret}", "signature": f"0x{secret.encode().hex()}"}
            await kept.ask(http, "POST", "/v2/auth/siwe/verify", json=signed)
            await kept.ask(http, "POST", "/v2/admin/auth/verify", json=signed)
            await kept.ask(http, "POST", "/v2/auth/siwe/challenge", json={"wallet_address": secret[:42].ljust(42, "x")})


async def _submit(kept: Kept, instance: Instance) -> None:
    """Passwords said to SMTP, where they are not asked for."""
    for secret in kept.secrets.values():
        reader, writer = await asyncio.open_connection(instance.smtp_host, instance.smtp_port)
        plain = base64.b64encode(f"\0canary@inbox.leasebox.test\0{secret}".encode()).decode()
        lines = ["EHLO x", f"AUTH PLAIN {plain}", f"VRFY {secret}", f"MAIL FROM:<{secret[:40]}@x>", f"{secret}", "QUIT"]
        writer.write("".join(f"{line}\r\n" for line in lines).encode())
        kept.answers.append(("SMTP", (await reader.read()).decode()))
        writer.close()


def _sign_in_to_submission(kept: Kept, port: int) -> None:
    """Every secret as a password where passwords are asked for, in each way to say it, under TLS and before it."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    for number, secret in enumerate(kept.secrets.values()):
        with smtplib.SMTP("127.0.0.1", port, timeout=20, source_address=(f"127.9.9.{number + 1}", 0)) as line:
            plain = base64.b64encode(f"\0canary@inbox.leasebox.test\0{secret}".encode()).decode()
            name = base64.b64encode(b"canary@inbox.leasebox.test").decode()
            said = [line.docmd("AUTH PLAIN", plain)]
            line.starttls(context=context)
            line.ehlo("x")
            said += [line.docmd("AUTH PLAIN", plain), line.docmd("AUTH LOGIN", name)]
            said.append(line.docmd(base64.b64encode(secret.encode()).decode()))
            kept.answers += [(f"submission {code}", text.decode()) for code, text in said]


async def _find_keys(kept: Kept, instance: Instance) -> None:
    """What no answer ever gives: derived keys, the keys that mail is signed with, the key of TLS."""
    for master in (MASTER, FORMER):
        for purpose in Purpose:
            kept.keys[f"{purpose} of {master[:12]}"] = derive(Secret(master), purpose).reveal()
    urls = attach(instance.home)
    assert urls is not None
    assert urls.database_url is not None
    database = await db.connect(urls.database_url)
    keys = await database.read(lambda tx: dkim_store.signing(tx, "inbox.leasebox.test", None))
    await database.close()
    for sealed in keys:
        key = dkim_keys.opened("inbox.leasebox.test", sealed, ring(Secret(MASTER), None, Purpose.DKIM_KEY))
        kept.keys[f"DKIM key {sealed.algorithm}"] = key.reveal()
    (pem,) = (path.read_text() for path in (instance.home / "tls").glob("*-key.pem"))
    kept.keys["TLS key"] = base64.b64decode("".join(pem.splitlines()[1:-1]))


async def _lose_the_database(kept: Kept, instance: Instance, agent: Agent) -> None:
    """Both engines fall in the middle of requests: what is said then must not name how they are reached."""
    for name in ("postgres", "valkey"):
        for pid in offspring(instance.process.pid):
            if name in Path(argv(pid).split(" ", 1)[0]).name:
                os.kill(pid, signal.SIGKILL)
                break
        seen = set()
        for _ in range(200):
            answers = [await kept.ask(agent.http, "GET", path) for path in ("/v2/auth/me", "/readyz")]
            seen |= {answer.status_code for answer in answers}
            if answers[0].status_code == answers[1].status_code == 200:
                break
            await asyncio.sleep(0.1)
        assert seen >= {200}


async def _look_around(kept: Kept, http: httpx.AsyncClient, admin: str = "") -> None:
    """Every GET of the API that this caller may ask, with the ids that the lists give."""
    described = (await http.get("/openapi.json")).json()
    paths = [path for path, verbs in described["paths"].items() if "get" in verbs and path != "/v2/events"]
    paths = [path for path in paths if ("/admin" in path) == bool(admin) and "/wait" not in path and "/ws" not in path]
    for path in sorted(paths, key=lambda each: each.count("{")):
        for one in await _named(kept, http, path):
            await kept.ask(http, "GET", one)
    for page in ("/metrics", "/", "/docs", "/llms.txt", "/agents-guide", "/v2/meta/runtime"):
        await kept.ask(http, "GET", page)


async def _named(kept: Kept, http: httpx.AsyncClient, path: str) -> list[str]:
    """The path itself, or with the ids of the list that it belongs to."""
    if "{" not in path:
        return [path]
    listed = await kept.ask(http, "GET", path.partition("/{")[0])
    ids = re.findall(r'"\w+_id":"(\w{3}_\w{26})"', listed.text)
    return [re.sub(r"\{[^}]+\}", each, path) for each in dict.fromkeys(ids)][:20]


def _written(instance: Instance) -> Iterator[tuple[Path, str]]:
    """The logs, and how each process was called."""
    for path in (instance.home.parent / f"{instance.home.name}.log", *sorted((instance.home / "log").iterdir())):
        text = path.read_text(errors="replace")
        assert text or "valkey" in path.name, path
        yield path, text
    for pid in offspring(instance.process.pid):
        yield Path(f"/proc/{pid}/cmdline"), argv(pid)


async def _tables(instance: Instance) -> list[tuple[str, str]]:
    """Every table's rows as `COPY` writes them, bytes in hexadecimal."""
    urls = attach(instance.home)
    assert urls is not None
    connection = await asyncpg.connect(urls.database_url)
    names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    dumped = []
    for (name,) in names:
        rows = await connection.fetch(f"SELECT t::text FROM {name} AS t")
        dumped.append((name, "\n".join(row[0] for row in rows)))
    await connection.close()
    assert {"sessions", "api_keys", "leases", "kept_answers", "audit_rows"} <= {name for name, text in dumped if text}
    return dumped
