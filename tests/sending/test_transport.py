"""One SMTP conversation: every stage that may go wrong, and what may be said of the mail then."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Mapping

import pytest

from leasebox.infra import tls
from leasebox.sending.relay import Host, Login, Tls
from leasebox.sending.transport import Doubt, Parcel, Patience, Session, Trouble, wire_form
from leasebox.sending.transport_reply import Verdict
from leasebox.values.clock import SystemClock
from leasebox.values.secret import Secret
from tests.fakes.relay import EXTENSIONS, HANG, RESET, FakeRelay

ONE, TWO = "one@there.example", "two@there.example"
CONTENT = b"From: a@here.example\r\nSubject: Hello\r\n\r\nHello.\r\n.hidden dot\r\n"
PARCEL = Parcel("bounce+1@here.example", (ONE, TWO), CONTENT)
CALM = Patience(connect=20.0, command=20.0, content=20.0, end=20.0)
QUICK = Patience(connect=2.0, command=0.3, content=2.0, end=0.3)


@pytest.fixture(scope="module")
def certified(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A server's context with a certificate that nobody has signed."""
    pair = tls.ensure_certificate(tmp_path_factory.mktemp("tls"), ("localhost",), SystemClock())
    return tls.server_context(*pair)


def host(relay: FakeRelay, mode: Tls = Tls.MAY, *, implicit: bool = False) -> Host:
    return Host("localhost", "127.0.0.1", relay.port, mode, implicit=implicit)


async def opened(
    relay: FakeRelay, mode: Tls = Tls.MAY, login: Login | None = None, patience: Patience = CALM
) -> Session:
    return await Session.opened(host(relay, mode), login, "here.example", patience, [])


async def sent(session: Session, parcel: Parcel = PARCEL) -> str:
    """A whole mail; the reply to its end."""
    heard = await session.offer(parcel)
    assert {each.verdict for each in heard.values()} == {Verdict.SENT}
    assert await session.send(parcel.content) is None
    return str(await session.end())


async def test_a_mail_arrives_as_it_is_and_the_connection_serves_the_next_one() -> None:
    async with FakeRelay().serving() as relay:
        session = await opened(relay)
        assert await sent(session) == "250 2.0.0 Taken as 1"
        assert await sent(session) == "250 2.0.0 Taken as 2"
        await session.quit()
        assert not session.is_open
    first, second = relay.mails
    assert (first.sender, first.recipients, first.content) == (PARCEL.sender, (ONE, TWO), CONTENT)
    assert second.content == CONTENT
    assert first.options == f"SIZE={len(CONTENT)}"
    assert (relay.sessions, relay.heard[0], relay.heard[-1]) == (1, "EHLO here.example", "QUIT")
    assert "RSET" not in relay.heard, "after a mail that was taken none is needed"


async def test_nothing_is_taken_before_the_end_is_sent() -> None:
    async with FakeRelay().serving() as relay:
        session = await opened(relay)
        await session.offer(PARCEL)
        assert await session.send(CONTENT) is None
        await asyncio.sleep(0.05)
        session.close()
        await asyncio.sleep(0.05)
        assert relay.mails == []


async def test_every_reply_is_kept_in_order() -> None:
    async with FakeRelay({f"RCPT {TWO}": "550 5.1.1 No such user"}).serving() as relay:
        session = await opened(relay)
        await session.offer(PARCEL)
        await session.send(CONTENT)
        await session.end()
        said = [(each.command, each.code) for each in session.said]
    assert (
        said
        == [
            ("connect", 220),
            ("EHLO", 250),
            ("MAIL", 250),
            (f"RCPT {ONE}", 250),
            (f"RCPT {TWO}", 550),
            ("DATA", 354),
            ("end of mail", 250),
        ][: len(said)]
    )
    assert len(said) >= 6


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ({"connect": "554 5.7.1 Go away"}, "554 5.7.1 Go away"),
        ({"connect": "421 4.3.2 Busy"}, "421 4.3.2 Busy"),
        ({"connect": HANG}, "no answer in time"),
        ({"connect": RESET}, "the connection was lost"),
        ({"connect": "HTTP/1.1 400 Bad Request"}, "Malformed SMTP response line: HTTP/1.1 400 Bad Request"),
        ({"EHLO": "550 5.7.1 Not you", "HELO": "550 5.7.1 Not you"}, "550 5.7.1 Not you"),
        ({"EHLO": RESET}, "the connection was lost"),
        ({"MAIL": "421 4.7.0 Slow down"}, "421 4.7.0 Slow down"),
        ({"MAIL": HANG}, "no answer in time"),
        ({"RCPT": RESET}, "the connection was lost"),
        ({"RCPT": "999 What"}, "What"),
        ({"DATA": HANG}, "no answer in time"),
        ({"DATA": "421 4.3.2 Closing"}, "421 4.3.2 Closing"),
    ],
    ids=lambda value: (
        "-".join(f"{stage}-{said}"[:24] for stage, said in value.items()) if isinstance(value, dict) else ""
    ),
)
async def test_trouble_before_the_end_leaves_no_doubt(script: Mapping[str, str], told: str) -> None:
    async with FakeRelay(script).serving() as relay:
        with pytest.raises(Trouble) as trouble:
            await sent(await opened(relay, patience=QUICK if HANG in script.values() else CALM))
        assert str(trouble.value.reply) == told
        assert relay.mails == []


async def test_nobody_listens() -> None:
    async with FakeRelay().serving() as relay:
        pass
    with pytest.raises(Trouble) as trouble:
        await opened(relay)
    assert (trouble.value.reply.code, trouble.value.reply.text) == (None, "connection refused")


@pytest.mark.parametrize("said", [RESET, HANG, "Gibberish"])
async def test_silence_after_the_end_leaves_doubt(said: str) -> None:
    async with FakeRelay({"end": said}).serving() as relay:
        with pytest.raises(Doubt):
            await sent(await opened(relay, patience=QUICK if said == HANG else CALM))


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("250 OK", Verdict.SENT),
        ("451 4.3.0 Later", Verdict.DEFERRED),
        ("421 4.3.2 Closing", Verdict.DEFERRED),
        ("554 5.7.1 Spam", Verdict.FAILED),
        ("552 5.3.4 Too big", Verdict.FAILED),
    ],
)
async def test_the_reply_to_the_end_decides(said: str, verdict: Verdict) -> None:
    async with FakeRelay({"end": said}).serving() as relay:
        session = await opened(relay)
        await session.offer(PARCEL)
        await session.send(CONTENT)
        last = await session.end()
        assert last.verdict is verdict
        assert session.is_open is not said.startswith("421")


async def test_a_refused_sender_is_refused_for_all() -> None:
    async with FakeRelay({"MAIL": "550 5.7.1 Not from you"}).serving() as relay:
        heard = await (await opened(relay)).offer(PARCEL)
        assert {str(each) for each in heard.values()} == {"550 5.7.1 Not from you"}
        assert relay.stages["RCPT"] == 0


async def test_each_recipient_has_a_reply_of_its_own_and_the_next_mail_begins_with_rset() -> None:
    script = {f"RCPT {ONE}": "450 4.2.1 Greylisted", f"RCPT {TWO}": "550 5.1.1 No such user"}
    async with FakeRelay(script).serving() as relay:
        session = await opened(relay)
        heard = await session.offer(PARCEL)
        assert {one: each.verdict for one, each in heard.items()} == {ONE: Verdict.DEFERRED, TWO: Verdict.FAILED}
        relay.say(f"RCPT {ONE}")
        relay.say(f"RCPT {TWO}")
        assert await sent(session) == "250 2.0.0 Taken as 1"
        assert relay.heard.count("RSET") == 1


async def test_what_a_server_says_while_the_mail_still_comes_is_heard() -> None:
    async with FakeRelay({"early": "552 5.3.4 That is too much"}).serving() as relay:
        session = await opened(relay)
        await session.offer(PARCEL)
        refusal = await session.send(b"x" * 70 + b"\r\n" + b"y" * 20_000_000)
        assert str(refusal) == "552 5.3.4 That is too much"
        assert not session.is_open
        assert relay.mails == []


async def test_also_just_before_its_end() -> None:
    async with FakeRelay({"early": "552 5.3.4 That is too much"}).serving() as relay:
        session = await opened(relay)
        await session.offer(PARCEL)
        assert await session.send(CONTENT) is None
        await asyncio.sleep(0.05)
        assert (await session.end()).verdict is Verdict.FAILED
        assert relay.mails == []


@pytest.mark.parametrize(
    ("missing", "parcel", "status"),
    [
        ("8BITMIME", Parcel("a@here.example", (ONE,), b"Subject: x\r\n\r\n\xc3\xa4\r\n"), "5.6.3"),
        ("SMTPUTF8", Parcel("a@here.example", ("jürgen@there.example",), CONTENT), "5.6.7"),
        ("SMTPUTF8", Parcel("a@here.example", (ONE,), b"To: j\xc3\xbc@there.example\r\n\r\nx\r\n"), "5.6.7"),
        ("SIZE", Parcel("a@here.example", (ONE,), CONTENT + b"x" * 200 + b"\r\n"), "5.3.4"),
    ],
    ids=["8bit", "address", "header", "size"],
)
async def test_what_a_server_cannot_take_is_not_offered_to_it(missing: str, parcel: Parcel, status: str) -> None:
    offered = ["SIZE 100"] if missing == "SIZE" else [one for one in EXTENSIONS if not one.startswith(missing)]
    async with FakeRelay(extensions=offered).serving() as relay:
        heard = await (await opened(relay)).offer(parcel)
        assert [(each.verdict, each.status) for each in heard.values()] == [(Verdict.FAILED, status)]
        assert relay.stages["MAIL"] == 0


async def test_international_mail_says_so() -> None:
    parcel = Parcel("a@here.example", ("jürgen@there.example",), "To: jürgen@there.example\r\n\r\nä\r\n".encode())
    async with FakeRelay().serving() as relay:
        await sent(await opened(relay), parcel)
        assert relay.mails[0].recipients == ("jürgen@there.example",)
        assert relay.mails[0].options == f"SIZE={len(parcel.content)} BODY=8BITMIME SMTPUTF8"


async def test_a_quoted_local_part_is_spelled_as_it_is() -> None:
    odd = '"a b>@\\"c"@there.example'
    async with FakeRelay().serving() as relay:
        await sent(await opened(relay), Parcel("a@here.example", (odd,), CONTENT))
        assert f"RCPT TO:<{odd}>" in relay.heard


async def test_a_line_break_in_an_address_never_reaches_the_wire() -> None:
    async with FakeRelay().serving() as relay:
        with pytest.raises(Trouble):
            await (await opened(relay)).offer(Parcel("a@here.example", ("x@y\r\nRCPT TO:<z@y>",), CONTENT))
        assert not [line for line in relay.heard if line.startswith("RCPT")]


async def test_a_large_mail_arrives_whole() -> None:
    content = b"Subject: big\r\n\r\n" + b".line of a large mail\r\n" * 300_000
    async with FakeRelay().serving() as relay:
        await sent(await opened(relay), Parcel("a@here.example", (ONE,), content))
        assert relay.mails[0].content == content


async def test_tls_is_used_where_it_is_offered_whoever_signed_it(certified: ssl.SSLContext) -> None:
    async with FakeRelay(tls=certified).serving() as relay:
        await sent(await opened(relay))
        assert relay.mails[0].hidden
        assert relay.stages["EHLO"] == 2, "what was said in clear is forgotten"


@pytest.mark.parametrize("script", [{"STARTTLS": "454 4.7.0 Not now"}, {"tls": RESET}], ids=["refused", "broken"])
async def test_where_tls_fails_mail_goes_in_clear_unless_it_must_not(
    certified: ssl.SSLContext, script: Mapping[str, str]
) -> None:
    async with FakeRelay(script, tls=certified).serving() as relay:
        await sent(await opened(relay, Tls.MAY))
        assert not relay.mails[0].hidden
        with pytest.raises(Trouble):
            await opened(relay, Tls.MUST)


async def test_required_tls_that_is_not_offered_is_trouble() -> None:
    async with FakeRelay().serving() as relay:
        with pytest.raises(Trouble) as trouble:
            await opened(relay, Tls.MUST)
        assert "does not offer TLS" in trouble.value.reply.text


async def test_a_verified_host_needs_a_certificate_that_is_good(certified: ssl.SSLContext) -> None:
    async with FakeRelay(tls=certified).serving() as relay:
        with pytest.raises(Trouble) as trouble:
            await opened(relay, Tls.VERIFIED)
        assert trouble.value.reply.text == "TLS failed: CERTIFICATE_VERIFY_FAILED"


async def test_tls_from_the_first_octet(certified: ssl.SSLContext) -> None:
    async with FakeRelay().serving(certified) as relay:
        session = await Session.opened(host(relay, Tls.MUST, implicit=True), None, "here.example", CALM, [])
        await sent(session)
        assert relay.mails[0].hidden


@pytest.fixture
async def guarded(certified: ssl.SSLContext) -> AsyncIterator[FakeRelay]:
    async with FakeRelay(tls=certified, login=("me", "sesame")).serving() as relay:
        yield relay


async def test_logging_in_after_tls(guarded: FakeRelay) -> None:
    await sent(await opened(guarded, Tls.MUST, Login("me", Secret("sesame"))))
    assert guarded.mails[0].hidden


async def test_a_wrong_password_is_trouble_that_does_not_show_it(guarded: FakeRelay) -> None:
    said: list[object] = []
    with pytest.raises(Trouble) as trouble:
        await Session.opened(host(guarded, Tls.MUST), Login("me", Secret("c4n4ry")), "here.example", CALM, said)  # type: ignore[arg-type]
    assert str(trouble.value.reply) == "535 5.7.8 Wrong"
    assert "c4n4ry" not in repr(said)
    assert trouble.value.reply.verdict is Verdict.DEFERRED, "the operator's mistake is not the sender's"


async def test_no_password_in_clear_unless_told_so() -> None:
    login = Login("me", Secret("sesame"))
    async with FakeRelay(login=("me", "sesame")).serving() as relay:
        with pytest.raises(Trouble) as trouble:
            await opened(relay, Tls.MAY, login)
        assert trouble.value.reply.text == "not logging in without TLS"
        assert not [line for line in relay.heard if line.startswith("AUTH")]
        await sent(await opened(relay, Tls.OFF, login))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a\r\nb\r\n", b"a\r\nb\r\n"),
        (b"a\nb", b"a\r\nb\r\n"),
        (b"a\rb\r\n", b"a\r\nb\r\n"),
        (b"\r\n.\r\n", b"\r\n.\r\n"),
        (b"a\n.\nb\r.\r\n", b"a\r\n.\r\nb\r\n.\r\n"),
        (b"", b"\r\n"),
    ],
)
def test_every_line_ends_with_crlf(before: bytes, after: bytes) -> None:
    assert wire_form(before) == after


async def test_no_ending_of_a_line_can_smuggle_a_second_mail() -> None:
    hostile = b"Subject: x\r\n\r\na\n.\nMAIL FROM:<x@y>\r.\rRCPT TO:<z@y>\r\n.\r\nDATA\r\n"
    async with FakeRelay().serving() as relay:
        await sent(await opened(relay), Parcel("a@here.example", (ONE,), wire_form(hostile)))
        assert len(relay.mails) == 1
        assert relay.mails[0].content == wire_form(hostile)
