"""Lists and search by statements: every filter alone and together, search in many languages, who sent what."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from leasebox.infra import wall
from leasebox.infra.db import Tx
from leasebox.mail import reading_store, threads_store
from leasebox.mail.model import Query
from leasebox.values.ids import LeaseId, MailboxId, MessageId, TenantId, ThreadId
from tests import kit_mail
from tests.kit import Agent, House
from tests.kit_mail import Post, code_mail, mail, messages_of
from tests.mail import crowd

shared_house = kit_mail.shared_house
post = kit_mail.shared_post

LETTERS = {
    "english": ("Your receipt", "Thanks for buying the blue Kettle, dear customer."),
    "spanish": ("Código de verificación", "Tu código es válido durante diez minutos, señor."),
    "german": ("Bestätigung", "Bitte bestätigen Sie Ihre GRÖSSE und Straße."),
    "french": ("Réinitialisation", "Votre compte a été créé à l'hôtel."),
    "portuguese": ("Confirmação", "Sua inscrição não está completa."),
    "russian": ("Код ПОДТВЕРЖДЕНИЯ", "Ваш код для входа в систему."),
    "greek": ("Επιβεβαίωση", "Ο κωδικός σας."),
    "chinese": ("您的验证码", "请在五分钟内输入验证码以完成注册。"),
    "japanese": ("確認コードのお知らせ", "ログインするには確認コードを入力してください。"),
    "korean": ("인증번호 안내", "인증번호를 입력하시면 가입이 완료됩니다."),
    "arabic": ("رمز التحقق", "رمز التحقق الخاص بك صالح لمدة عشر دقائق"),
    "thai": ("รหัสยืนยัน", "กรุณากรอกรหัสยืนยันของคุณ"),
}


@pytest.fixture(scope="module")
async def reader(shared_house: House) -> Agent:
    """An agent whose mailbox holds one letter in each language."""
    agent = await shared_house.agent()
    lease = await agent.lease()
    async with kit_mail.receiving(shared_house) as post:
        for language, (subject, text) in LETTERS.items():
            sender = f"{language.title()} Shop <news@{language}.shop.example>"
            await post.send(mail(subject, text, From=sender), lease["address"])
        await post.parsed()
    return agent


async def found(house: House, agent: Agent, **criteria: Any) -> set[str]:
    """The sender's first domain label of each message that fits."""
    query = Query(
        tenant_id=TenantId.parse(agent.session["tenant_id"]),
        within=criteria.pop("within", None),
        at=house.clock.now(),
        retention=timedelta(hours=72),
        **criteria,
    )
    return {row["sender_domain"].partition(".")[0] for row in await listed(house, query)}


async def next_after(tx: Tx, query: Query, seq: int) -> Any:
    sql, values = reading_store.next_of(query, seq, "$1", 1)
    return await tx.one(sql, query.tenant_id, *values)


async def listed(house: House, query: Query) -> list[Any]:
    return list(await house.db.read(lambda tx: reading_store.listed(tx, query, None, 100)))


@pytest.mark.parametrize(
    ("text", "languages"),
    [
        ("receipt", {"english"}),
        ("RECEIPT", {"english"}),
        ("kettle blue", {"english"}),
        ('"blue kettle"', {"english"}),
        ('"kettle blue"', set()),
        ("kettle or код", {"english", "russian"}),
        ("ваш -система -систему", set()),
        ("código", {"spanish"}),
        ("verificación", {"spanish"}),
        ("bestätigen", {"german"}),
        ("größe", set()),
        ("grösse", {"german"}),
        ("STRASSE", set()),
        ("straße", {"german"}),
        ("créé", {"french"}),
        ("hôtel", {"french"}),
        ("inscrição", {"portuguese"}),
        ("подтверждения", {"russian"}),
        ("κωδικός", {"greek"}),
        ("验证码", {"chinese"}),
        ("注册", {"chinese"}),
        ("码证验", set()),
        ("確認コード", {"japanese"}),
        ("ログイン", {"japanese"}),
        ("인증번호", {"korean"}),
        ("가입", {"korean"}),
        ("التحقق", {"arabic"}),
        ("ยืนยัน", {"thai"}),
        ("news@german.shop.example", {"german"}),
        ("french.shop.example", {"french"}),
        ("Russian", {"russian"}),
        ("nothing-like-it", set()),
        ("!!!", set()),
        ('"', set()),
        ("-", set()),
        ("' OR 1=1 --", set()),
    ],
)
async def test_search(shared_house: House, reader: Agent, text: str, languages: set[str]) -> None:
    assert await found(shared_house, reader, text=text) == languages


@pytest.mark.parametrize(
    ("sender", "languages"),
    [
        ("news@french.shop.example", {"french"}),
        ("NEWS@French.Shop.Example", {"french"}),
        ("french.shop.example", {"french"}),
        ("@french.shop.example", {"french"}),
        ("shop.example", set(LETTERS)),
        ("op.example", set()),
        ("example", set(LETTERS)),
        ("ws@french.shop.example", set()),
        ("%", set()),
    ],
)
async def test_from_whom(shared_house: House, reader: Agent, sender: str, languages: set[str]) -> None:
    assert await found(shared_house, reader, sender=sender) == languages


@pytest.mark.parametrize(
    ("subject", "languages"),
    [
        ("receipt", {"english"}),
        ("подтверждения", {"russian"}),
        ("验证", {"chinese"}),
        ("%", set()),
        ("r r", {"english"}),
    ],
)
async def test_what_the_subject_holds(shared_house: House, reader: Agent, subject: str, languages: set[str]) -> None:
    assert await found(shared_house, reader, subject=subject) == languages


async def test_criteria_narrow_one_another(shared_house: House, reader: Agent) -> None:
    assert await found(shared_house, reader, text="код", sender="russian.shop.example") == {"russian"}
    assert await found(shared_house, reader, text="код", sender="german.shop.example") == set()
    assert await found(shared_house, reader, direction="inbound") == set(LETTERS)
    assert await found(shared_house, reader, direction="outbound") == set()
    assert await found(shared_house, reader, has="otp") == set()
    assert await found(shared_house, reader, thread_id=ThreadId.new(shared_house.clock.now())) == set()


async def test_limits_of_a_credential_narrow_every_list(shared_house: House, reader: Agent) -> None:
    (box, *_) = {each["mailbox_id"] for each in await messages_of(reader)}
    mine, other = MailboxId.parse(box), MailboxId.new(shared_house.clock.now())
    assert await found(shared_house, reader, within=frozenset({mine})) == set(LETTERS)
    assert await found(shared_house, reader, within=frozenset({other})) == set()
    assert await found(shared_house, reader, within=frozenset()) == set()
    assert await found(shared_house, reader, within=frozenset({other}), mailbox_id=mine) == set()


async def test_times_are_inclusive_and_exclusive(shared_house: House, post: Post) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    await post.deliver(code_mail(1), lease["address"])
    tenant_id = TenantId.parse(agent.session["tenant_id"])
    at = await kit_mail.value(shared_house, "SELECT received_at FROM messages WHERE tenant_id = $1", tenant_id)
    tick = timedelta(microseconds=1)
    assert await found(shared_house, agent, since=at) == {"shop"}
    assert await found(shared_house, agent, since=at + tick) == set()
    assert await found(shared_house, agent, until=at) == set()
    assert await found(shared_house, agent, until=at + tick) == {"shop"}


async def test_labels_are_matched_whole(shared_house: House, post: Post) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    (message_id,) = await post.deliver(code_mail(1), lease["address"])
    await agent.http.patch(f"/v2/messages/{message_id}", json={"add_labels": ["done"], "remove_labels": ["unread"]})
    for label, expected in (("done", {"shop"}), ("received", {"shop"}), ("unread", set()), ("don", set()), ("", set())):
        assert await found(shared_house, agent, labels=(label,)) == expected
    assert await found(shared_house, agent, labels=("done", "received")) == {"shop"}
    assert await found(shared_house, agent, labels=("done", "unread")) == set()


async def test_people_are_found_in_either_direction(shared_house: House, post: Post) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    raw = mail("Minutes", "As agreed.", To="Grace Hopper <grace@navy.example>", Cc="howard@aiken.example")
    await post.deliver(raw, lease["address"])
    for text in ("grace@navy.example", "hopper", "howard@aiken.example", "HOPPER minutes"):
        assert await found(shared_house, agent, text=text) == {"shop"}, text
    assert await found(shared_house, agent, text="turing") == set()


async def test_a_lease_shows_its_mail_for_the_retention_only(shared_house: House, post: Post) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease(ttl_hours=1)
    await post.deliver(code_mail(1), lease["address"])
    query = Query(
        tenant_id=TenantId.parse(agent.session["tenant_id"]),
        within=None,
        at=shared_house.clock.now(),
        retention=timedelta(hours=72),
    )
    for hours, count in ((0, 1), (2, 1), (72, 1), (73.1, 0)):
        later = msgspec.structs.replace(query, at=query.at + timedelta(hours=hours))
        assert len(await listed(shared_house, later)) == count, hours


async def test_the_next_message_is_the_next_to_become_visible(shared_house: House, post: Post) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    for number in range(3):
        await post.deliver(code_mail(number), lease["address"])
    query = Query(
        tenant_id=TenantId.parse(agent.session["tenant_id"]),
        within=None,
        at=shared_house.clock.now(),
        retention=timedelta(hours=72),
        mailbox_id=MailboxId.parse(lease["mailbox_id"]),
    )

    async def walk(tx: Tx) -> list[Any]:
        return [await next_after(tx, query, place) for place in range(4)]

    *found_ones, end = await shared_house.db.read(walk)
    assert [row["otp_code"] for row in found_ones] == ["481200", "481201", "481202"]
    assert end is None


@pytest.mark.parametrize(
    "criteria",
    [
        {},
        {"direction": "outbound"},
        {"has": "otp"},
        {"has": "link"},
        {"sender": "NO-REPLY@shop.example"},
        {"sender": "reply@shop.example"},
        {"sender": "example"},
        {"sender": "@Shop.example"},
        {"sender": "op.example"},
        {"subject": "your CODE"},
        {"subject": "%"},
        {"since": timedelta(hours=-1)},
        {"since": timedelta(hours=1)},
        {"within": "its own"},
        {"within": "another"},
        {"sender": "shop.example", "subject": "code", "has": "otp", "since": timedelta(0), "within": "its own"},
    ],
    ids=str,
)
async def test_the_next_message_is_the_first_that_a_list_would_show(
    shared_house: House, post: Post, criteria: dict[str, Any]
) -> None:
    """The two are said apart, as text and by SQLAlchemy."""
    agent = await shared_house.agent()
    lease, other = await agent.lease(), await agent.lease()
    await post.deliver(mail("First", "no code", From="x@news.shop.example"), lease["address"])
    await post.deliver(code_mail(1), lease["address"])
    await post.deliver(code_mail(2), other["address"])
    within = {"its own": {MailboxId.parse(lease["mailbox_id"])}, "another": {MailboxId.parse(other["mailbox_id"])}}
    changes = criteria | {"since": shared_house.clock.now() + criteria["since"]} if "since" in criteria else criteria
    query = Query(
        tenant_id=TenantId.parse(agent.session["tenant_id"]),
        at=shared_house.clock.now(),
        retention=timedelta(hours=72),
        mailbox_id=MailboxId.parse(lease["mailbox_id"]),
        **{"direction": "inbound", **changes, "within": frozenset(within.get(criteria.get("within", ""), ())) or None},
    )
    shown = [row["id"] for row in reversed(await listed(shared_house, query))]
    row = await shared_house.db.read(lambda tx: next_after(tx, query, 0))
    assert (None if row is None else row["id"]) == (shown[0] if shown else None)
    if row is not None:
        assert dict(row) == dict((await listed(shared_house, query))[-1])


async def test_the_next_message_is_shown_as_long_as_a_list_shows_it(shared_house: House, post: Post) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    await post.deliver(code_mail(1), lease["address"])
    query = Query(
        tenant_id=TenantId.parse(agent.session["tenant_id"]),
        within=None,
        at=shared_house.clock.now(),
        retention=timedelta(hours=72),
        mailbox_id=MailboxId.parse(lease["mailbox_id"]),
    )

    async def seen(query: Query) -> tuple[bool, bool]:
        row = await shared_house.db.read(lambda tx: next_after(tx, query, 0))
        return row is not None, bool(await listed(shared_house, query))

    later = msgspec.structs.replace(query, at=query.at + timedelta(hours=1 + 72))
    stranger = msgspec.structs.replace(query, tenant_id=TenantId.new(query.at))
    assert [await seen(each) for each in (query, later, stranger)] == [(True, True), (False, False), (False, False)]
    lease_id = LeaseId.parse(lease["lease_id"])
    await kit_mail.change(shared_house, "UPDATE leases SET state = 'paused' WHERE id = $1", lease_id)
    ended = msgspec.structs.replace(query, at=query.at + timedelta(hours=2))
    assert [await seen(each) for each in (query, ended)] == [(False, False), (True, True)]
    frozen = "UPDATE leases SET state = 'active', frozen_at = started_at WHERE id = $1"
    await kit_mail.change(shared_house, frozen, lease_id)
    assert await seen(query) == (False, False)


async def test_every_look_at_one_message_is_scoped_by_tenant(shared_house: House, post: Post) -> None:
    agent = await shared_house.agent()
    lease = await agent.lease()
    (message,) = await post.deliver(code_mail(1), lease["address"])
    message_id, mine = MessageId.parse(message), TenantId.parse(agent.session["tenant_id"])
    mailbox_id, stranger = MailboxId.parse(lease["mailbox_id"]), TenantId.new(shared_house.clock.now())

    async def looks(tx: Any, tenant_id: TenantId) -> list[object]:
        return [
            await reading_store.one(tx, tenant_id, message_id),
            await reading_store.head(tx, tenant_id, message_id),
            await reading_store.raw(tx, tenant_id, message_id),
            await reading_store.label(tx, tenant_id, message_id, ["x"], []),
            await reading_store.seq_of(tx, tenant_id, mailbox_id, message_id),
        ]

    assert await shared_house.db.transact(lambda tx: looks(tx, stranger)) == [None] * 5
    assert None not in await shared_house.db.transact(lambda tx: looks(tx, mine))
    assert await shared_house.db.read(lambda tx: reading_store.seq_now(tx, stranger, mailbox_id)) == 0


@pytest.mark.parametrize(
    "criteria",
    [
        {"labels": ("nobody-has-it",)},
        {"labels": ("unread", "nobody-has-it")},
        {"labels": ("unread",)},
        {"direction": "outbound"},
        {"text": "nobodywroteit"},
        {"since": timedelta(hours=3)},
        {"until": timedelta(hours=-30)},
    ],
    ids=["a label", "two labels", "unread", "direction", "words", "since", "until"],
)
async def test_what_does_not_fit_is_not_looked_at(crowded: tuple[House, Agent], criteria: dict[str, Any]) -> None:
    house, agent = crowded
    times = {name: house.clock.now() + span for name, span in criteria.items() if isinstance(span, timedelta)}
    tenant_id = TenantId.parse(agent.session["tenant_id"])
    query = Query(
        tenant_id=tenant_id, within=None, at=house.clock.now(), retention=timedelta(hours=72), **(criteria | times)
    )

    async def body(tx: Tx) -> dict[str, crowd.Looked]:
        async def work() -> None:
            assert await reading_store.listed(tx, query, None, 21) == []
            assert await threads_store.listed(tx, query, None, None, 21) == []

        # Of so few rows the planner reads all rather than use the index of words. That it can, is what is to be shown.
        await tx.run("SELECT set_config('enable_seqscan', 'off', true)")
        return await crowd.looked_at(tx, work)

    with wall.behind(tenant_id):
        looked = await house.db.transact(body)
    assert {name: each.scanned for name, each in looked.items()} == dict.fromkeys(looked, 0)
    # The planner looks at the ends of an index for itself.
    assert max(each.fetched for each in looked.values()) <= 100, "of 4,000"


@pytest.fixture(scope="module")
async def crowded(shared_house: House, post: Post) -> tuple[House, Agent]:
    """An agent with 4,000 messages, all read."""
    agent = await shared_house.agent()
    lease = await agent.lease(ttl_hours=720)
    (message_id,) = await post.deliver(mail("Hello"), lease["address"])
    await agent.http.patch(f"/v2/messages/{message_id}", json={"remove_labels": ["unread"]})
    await crowd.gather(shared_house, LeaseId.parse(lease["lease_id"]), 4_000)
    return shared_house, agent
