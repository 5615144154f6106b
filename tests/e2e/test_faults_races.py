"""Races of a hundred, twenty times each, on two HTTP processes of a running leasebox: exact every time.

With Redis emptied meanwhile, the last free call, a proof, an Idempotency-Key and the credit limit race in
test_two_processes.py, too.
"""

import asyncio
import smtplib
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence

import httpx
import pytest
from eth_account import Account

from leasebox.billing import ledger
from leasebox.infra import db, ports
from leasebox.infra.db import Database
from leasebox.infra.embedded import attach
from tests.billing.shop import LEASES, book, proof, tenant_of
from tests.faults.share import cpu_ticks
from tests.infra.homes import argv, offspring
from tests.instance import Instance, up
from tests.kit import Agent, sign

AT_ONCE, ROUNDS = 100, 20
# Of the logins: a TLS handshake each.
BY_SMTP = 20
DOMAIN = "inbox.leasebox.test"
# Nobody runs out of free calls here, but of the one webhook.
FREE = book(
    mailbox_lease=(100_000, "hour", "0.001"),
    message_read=(100_000, "day", "0.001"),
    webhook_create=(1, "day", "0.001"),
)
HOOKS = "/v2/webhooks"
HOOK = {"event_types": ["message.received"], "target_url": "https://hooks.example/race"}


@pytest.fixture(scope="module")
def submission() -> int:
    """The port where mailboxes hand in mail."""
    return ports.claim("127.0.0.1", 0)


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory, submission: int) -> Iterator[Instance]:
    place = tmp_path_factory.mktemp("races")
    (place / "prices.toml").write_text(FREE)
    off = ("API_RATE", "SIGNIN_RATE", "TENANT_RATE", "CLAIM_RATE", "SMTP_RATE", "SMTP_CONNECTIONS")
    settings = {f"LEASEBOX_{name}": "0" for name in off} | {"LEASEBOX_CLAIM_CONFIRM": "headless"}
    with up(
        place / "home",
        LEASEBOX_WORKERS="2",
        LEASEBOX_PRICES=str(place / "prices.toml"),
        LEASEBOX_SUBMISSION=f"127.0.0.1:{submission}",
        **settings,
    ) as running:
        yield running


@pytest.fixture
async def http(instance: Instance) -> AsyncIterator[httpx.AsyncClient]:
    """Connections of their own, so that the kernel spreads the calls over both processes."""
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=instance.url, timeout=60, limits=limits) as client:
        yield client


@pytest.fixture(autouse=True)
def both(instance: Instance) -> Iterator[None]:
    """Both processes must have worked."""
    serving = [pid for pid in offspring(instance.process.pid) if argv(pid).rstrip().endswith(" serve http")]
    assert len(serving) == 2
    before = {pid: cpu_ticks(pid) for pid in serving}
    yield
    assert all(cpu_ticks(pid) > ticks + 2 for pid, ticks in before.items()), before


@pytest.fixture
async def agent(http: httpx.AsyncClient) -> Agent:
    return await Agent.signed_in(http, Account.create())


@pytest.fixture
async def database(instance: Instance) -> AsyncIterator[Database]:
    urls = attach(instance.home)
    assert urls is not None
    assert urls.database_url is not None
    opened = await db.connect(urls.database_url)
    yield opened
    await opened.close()


async def number_of(database: Database, sql: str, *values: object) -> int:
    """A number that the database tells."""
    found: int = await database.read(lambda tx: tx.value(sql, *values))
    return found


async def together(calls: Sequence[Awaitable[httpx.Response]]) -> Counter[int]:
    """How often each status came."""
    return Counter(answer.status_code for answer in await asyncio.gather(*calls))


@pytest.mark.timeout(300)
async def test_one_nonce(http: httpx.AsyncClient, database: Database) -> None:
    for _ in range(ROUNDS):
        wallet = Account.create()
        made = (await http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address})).json()
        body = {"message": made["message"], "signature": sign(wallet, made["message"])}
        said = await together([http.post("/v2/auth/siwe/verify", json=body) for _ in range(AT_ONCE)])
        assert said == {200: 1, 401: AT_ONCE - 1}
        sessions = "SELECT count(*) FROM sessions WHERE lower(wallet_address) = lower($1)"
        assert await number_of(database, sessions, wallet.address) == 1


@pytest.mark.timeout(300)
async def test_one_new_wallet_signs_in_by_many_nonces(http: httpx.AsyncClient, database: Database) -> None:
    """A hundred sign-ins of one newcomer make one tenant."""
    for _ in range(ROUNDS // 4):
        wallet = Account.create()
        asked = [http.post("/v2/auth/siwe/challenge", json={"wallet_address": wallet.address}) for _ in range(AT_ONCE)]
        bodies = [
            {"message": made.json()["message"], "signature": sign(wallet, made.json()["message"])}
            for made in await asyncio.gather(*asked)
        ]
        answers = await asyncio.gather(*(http.post("/v2/auth/siwe/verify", json=body) for body in bodies))
        assert {answer.status_code for answer in answers} == {200}
        assert len({answer.json()["tenant_id"] for answer in answers}) == 1
        assert len({answer.json()["agent_id"] for answer in answers}) == 1
        bound = "SELECT count(*) FROM wallets WHERE lower(address) = lower($1)"
        assert await number_of(database, bound, wallet.address) == 1


@pytest.mark.timeout(300)
async def test_the_last_free_call_then_one_proof(http: httpx.AsyncClient, database: Database) -> None:
    """Of a hundred calls one is free; of a hundred with the same proof one is paid for."""
    for _ in range(ROUNDS):
        agent = await Agent.signed_in(http, Account.create())
        free = [http.post(HOOKS, json=HOOK) for _ in range(AT_ONCE)]
        assert await together(free) == {201: 1, 402: AT_ONCE - 1}
        paid = {"x-payment-proof": await proof(agent, HOOKS)}
        assert await together([http.post(HOOKS, json=HOOK, headers=paid) for _ in range(AT_ONCE)]) == {
            201: 1,
            402: AT_ONCE - 1,
        }
        uses = "SELECT sum(free_quantity) * 10 + sum(paid_quantity) FROM usage_events WHERE tenant_id = $1"
        assert await number_of(database, uses, tenant_of(agent)) == 11
        assert await number_of(database, "SELECT count(*) FROM webhooks WHERE tenant_id = $1", tenant_of(agent)) == 2
    assert await database.read(ledger.discrepancies) == []


@pytest.mark.timeout(300)
async def test_one_named_address(http: httpx.AsyncClient, agent: Agent, database: Database) -> None:
    async with httpx.AsyncClient(base_url=http.base_url, timeout=60) as elsewhere:
        other = await Agent.signed_in(elsewhere, Account.create())
        for number in range(ROUNDS):
            asked = [
                each.ask_lease(local_part=f"wanted-{number}") for each in (agent, other) for _ in range(AT_ONCE // 2)
            ]
            assert await together(asked) == {201: 1, 409: AT_ONCE - 1}
    held = "SELECT count(*) FROM addresses WHERE address LIKE 'wanted-%'"
    assert await number_of(database, held) == ROUNDS
    leased = "SELECT count(*) FROM leases l JOIN mailboxes b ON b.id = l.mailbox_id WHERE b.address LIKE 'wanted-%'"
    assert await number_of(database, leased) == ROUNDS


@pytest.mark.timeout(300)
async def test_renewing_against_releasing(agent: Agent, database: Database) -> None:
    """Whoever is told 202 has released it: no renewal, told 200 or not, brings it back."""
    for _ in range(ROUNDS):
        path = f"{LEASES}/{(await agent.lease())['lease_id']}"
        renewals = [agent.http.post(f"{path}/renew", json={"ttl_hours": 700}) for _ in range(AT_ONCE - 5)]
        releases = [agent.http.post(f"{path}/release") for _ in range(5)]
        middle = len(renewals) // 2
        answers = await asyncio.gather(*renewals[:middle], *releases, *renewals[middle:])
        released = answers[middle : middle + 5]
        assert {answer.status_code for answer in released} == {202}
        assert {answer.status_code for answer in (*answers[:middle], *answers[middle + 5 :])} <= {200, 410}
        assert (await agent.http.get(path)).json()["lease_status"] == "released"
    open_ended = "SELECT count(*) FROM leases WHERE tenant_id = $1 AND expires_at > released_at"
    assert await number_of(database, open_ended, tenant_of(agent)) == 0


@pytest.mark.timeout(300)
async def test_releasing_against_mail_in_flight(instance: Instance, agent: Agent, database: Database) -> None:
    """What was answered 250 is read in the lease that has ended; what was refused is nowhere; nothing comes later."""
    for number in range(ROUNDS):
        lease = await agent.lease(local_part=f"leaving-{number}")
        sending = [asyncio.create_task(_mail(instance, lease["address"], f"r{number}-{n}")) for n in range(AT_ONCE)]
        await asyncio.sleep(0.01 * (number % 5))
        released = await agent.http.post(f"{LEASES}/{lease['lease_id']}/release")
        assert released.status_code == 202
        replies = await asyncio.gather(*sending)
        assert {reply[:3] for reply in replies} <= {"250", "550"}
        late = await _mail(instance, lease["address"], f"r{number}-late")
        assert late.startswith("550"), late
        taken = sorted(f"r{number}-{n}" for n, reply in enumerate(replies) if reply.startswith("250"))
        assert await _subjects(agent, lease["mailbox_id"], len(taken)) == taken
    strayed = (
        "SELECT count(*) FROM messages m JOIN leases l ON l.id = m.lease_id "
        # A release that had to wait for mail under way ends later than it began, and tells the latter.
        "WHERE m.tenant_id = $1 AND m.received_at > l.released_at + interval '10 seconds'"
    )
    assert await number_of(database, strayed, tenant_of(agent)) == 0


@pytest.mark.timeout(300)
async def test_resetting_credentials_a_hundred_times_at_once(agent: Agent) -> None:
    """One of the passwords stands at the end, and only one."""
    lease = await agent.lease()
    answers = await asyncio.gather(*(_reset(agent, lease) for _ in range(AT_ONCE)))
    assert {answer.status_code for answer in answers} == {200}
    passwords = [lease["webmail_password"], *(answer.json()["webmail_password"] for answer in answers)]
    assert len(set(passwords)) == len(passwords)
    let_in = await asyncio.gather(*(_is_let_in(agent, lease["mailbox_id"], each) for each in passwords))
    assert sum(let_in) == 1
    assert not let_in[0]


@pytest.mark.timeout(300)
async def test_resetting_credentials_against_logins(submission: int, agent: Agent) -> None:
    """A login that begins a second after the reset has answered does not get in by the old password, on any way."""
    old: list[tuple[str, str, str]] = []
    for number in range(ROUNDS):
        lease = await agent.lease()
        address, mailbox_id, password = lease["address"], lease["mailbox_id"], lease["webmail_password"]
        over_smtp = [_log_in(number, who, submission, address, password) for who in range(BY_SMTP)]
        over_http = [_is_let_in(agent, mailbox_id, password) for _ in range(AT_ONCE - BY_SMTP - 1)]
        middle = len(over_http) // 2
        logins = asyncio.gather(*over_smtp, *over_http[:middle])
        later = asyncio.gather(*over_http[middle:])
        reset = await _reset(agent, lease)
        assert reset.status_code == 200
        assert {*(await logins)[:BY_SMTP]} <= {235, 535}
        await later
        fresh = reset.json()["webmail_password"]
        assert await _is_let_in(agent, mailbox_id, fresh)
        assert not await _is_let_in(agent, mailbox_id, password)
        old.append((address, password, fresh))
    await asyncio.sleep(1)
    refused = [_log_in(n, 200, submission, address, password) for n, (address, password, _) in enumerate(old)]
    assert set(await asyncio.gather(*refused)) == {535}
    opened = [_log_in(n, 201, submission, address, fresh) for n, (address, _, fresh) in enumerate(old)]
    assert set(await asyncio.gather(*opened)) == {235}


@pytest.mark.timeout(300)
async def test_the_tenth_recipient_of_a_cooldown(http: httpx.AsyncClient, database: Database) -> None:
    """Of a hundred messages of a tenant without a wallet ten go out."""
    for number in range(ROUNDS):
        claim = (await http.post("/v2/claims", json={"name": f"eager-{number}"})).json()
        token = {"authorization": f"Bearer {claim['claim_token']}"}
        view = (await http.post(f"/v2/claims/{claim['session_id']}/confirm", headers=token)).json()
        key = {"authorization": f"Bearer {view['api_key']}"}
        letters = [
            {"mailbox_id": view["mailbox_id"], "to": f"eager-{number}@{DOMAIN}", "subject": f"{n}", "text": "x"}
            for n in range(AT_ONCE)
        ]
        said = await together([http.post("/v2/messages/send", json=one, headers=key) for one in letters])
        assert said == {202: 10, 429: AT_ONCE - 10}
        sent = "SELECT count(*) FROM send_attempts a JOIN mailboxes b ON b.id = a.mailbox_id WHERE b.address = $1"
        address = view["address"]
        assert await number_of(database, sent, address) == 10


async def _mail(instance: Instance, to: str, subject: str) -> str:
    """The last reply to a mail over a connection of its own."""
    reader, writer = await asyncio.open_connection(instance.smtp_host, instance.smtp_port)
    try:
        await _reply(reader)
        for line in ("EHLO a.example", "MAIL FROM:<a@a.example>", f"RCPT TO:<{to}>", "DATA"):
            writer.write(f"{line}\r\n".encode())
            reply = await _reply(reader)
            if reply[0] not in "23":
                return reply
        writer.write(f"From: a@a.example\r\nSubject: {subject}\r\n\r\nx\r\n.\r\n".encode())
        return await _reply(reader)
    finally:
        writer.transport.abort()


async def _reply(reader: asyncio.StreamReader) -> str:
    while (line := await reader.readline())[3:4] == b"-":
        pass
    return line.decode()


async def _subjects(agent: Agent, mailbox_id: str, expected: int) -> list[str]:
    """The subjects in a mailbox, once there are so many, or after 20 s."""
    found: list[str] = []
    for _ in range(200):
        answer = await agent.http.get("/v2/messages", params={"mailbox_id": mailbox_id, "limit": 100})
        found = sorted(item["subject"] for item in answer.json()["items"])
        if len(found) >= expected:
            break
        await asyncio.sleep(0.1)
    return found


async def _reset(agent: Agent, lease: dict[str, str]) -> httpx.Response:
    return await agent.http.post(f"/v2/mailboxes/accounts/{lease['mailbox_id']}/credentials/reset")


async def _is_let_in(agent: Agent, mailbox_id: str, password: str) -> bool:
    """Whether the mailbox's password stands in for the right to send; the message itself goes to nobody."""
    wanted = {"mailbox_id": mailbox_id, "mailbox_password": password, "to": [], "text": "x"}
    answer = await agent.http.post("/v2/messages/send", json=wanted)
    assert answer.status_code in (400, 401, 403, 422), answer.text
    return answer.status_code not in (401, 403)


async def _log_in(turn: int, who: int, port: int, address: str, password: str) -> int:
    """The reply code to a login over TLS, from an address of its own: a client that fails often is turned away."""
    return await asyncio.to_thread(_log_in_from, f"127.{turn + 1}.0.{who + 1}", port, address, password)


def _log_in_from(source: str, port: int, address: str, password: str) -> int:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with smtplib.SMTP("127.0.0.1", port, timeout=20, source_address=(source, 0)) as client:
        client.starttls(context=context)
        try:
            return client.login(address, password)[0]
        except smtplib.SMTPAuthenticationError as refused:
            return refused.smtp_code
