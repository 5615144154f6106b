"""SPF, DKIM and DMARC together, and that no DNS can hold a mail up."""

import asyncio
import threading
import time

import pytest

from leasebox.infra.lookups import LookupFailed
from leasebox.mail import sender_auth
from leasebox.mail.sender_auth import UNANSWERED, UNTESTED, SenderAuth, SenderCheck, check
from tests.fakes.dns import FakeDns
from tests.mail.test_dkim import AT, MAIL, RSA_ZONE, signed

CLIENT = "192.0.2.7"
SPF = {"txt acme.example": [b"v=spf1 ip4:192.0.2.0/24 -all"]}
DMARC = {"txt _dmarc.acme.example": [b"v=DMARC1; p=reject"]}
ALL = RSA_ZONE | SPF | DMARC
EVIL = ALL | {"txt evil.example": SPF["txt acme.example"]}
TWO = b"From: a@acme.example, b@evil.example\r\n\r\n"
UNSIGNED = b"From: joe@acme.example\r\n\r\nbody"


def words(
    raw: bytes, zone: dict[str, list[bytes]], client: str = CLIENT, sender: str = "joe@acme.example"
) -> SenderAuth:
    return check(raw, client, "mx.acme.example", sender, FakeDns(zone), at=AT)


@pytest.mark.parametrize(
    ("raw", "zone", "client", "sender", "result"),
    [
        (signed(), ALL, CLIENT, "joe@acme.example", ("pass", "pass", "pass")),
        (signed(), ALL, f"::ffff:{CLIENT}", "joe@acme.example", ("pass", "pass", "pass")),
        (signed(), ALL, "198.51.100.9", "joe@acme.example", ("fail", "pass", "pass")),
        (signed(), ALL, CLIENT, "bounce@other.example", ("none", "pass", "pass")),
        (UNSIGNED, ALL, CLIENT, "joe@acme.example", ("pass", "none", "pass")),
        (UNSIGNED, ALL, "198.51.100.9", "joe@acme.example", ("fail", "none", "fail")),
        (UNSIGNED, EVIL, CLIENT, "x@evil.example", ("pass", "none", "fail")),
        (signed().replace(b"482913", b"0"), ALL, CLIENT, "x@other.example", ("none", "fail", "fail")),
        (UNSIGNED, {}, CLIENT, "joe@acme.example", ("none", "none", "none")),
        (signed(), RSA_ZONE, "127.0.0.1", "joe@acme.example", ("none", "pass", "none")),
        (signed(), ALL, "10.1.2.3", "joe@acme.example", ("none", "pass", "pass")),
        (signed().replace(b"482913", b"0"), ALL, "fd00::1", "joe@acme.example", ("none", "fail", "none")),
        (UNSIGNED, ALL, "192.168.0.1", "joe@acme.example", ("none", "none", "none")),
        (UNSIGNED, ALL, "not an address", "joe@acme.example", ("none", "none", "none")),
        (b"From: a@acme.example\r\n" + UNSIGNED, ALL, CLIENT, "joe@acme.example", ("pass", "none", "permerror")),
        (TWO, ALL, CLIENT, "joe@acme.example", ("pass", "none", "permerror")),
        (b"From: Joe\r\n\r\n", ALL, CLIENT, "joe@acme.example", ("pass", "none", "permerror")),
        (b"Subject: x\r\n\r\n", ALL, CLIENT, "joe@acme.example", ("pass", "none", "permerror")),
    ],
)  # fmt: skip
def test_words(
    raw: bytes, zone: dict[str, list[bytes]], client: str, sender: str, result: tuple[str, str, str]
) -> None:
    assert words(raw, zone, client, sender) == SenderAuth(*result)


def test_names_in_other_alphabets_are_looked_up_as_the_dns_writes_them() -> None:
    zone = {"txt _dmarc.xn--mnchen-3ya.example": [b"v=DMARC1"], "txt xn--mnchen-3ya.example": [b"v=spf1 +all"]}
    raw = "From: j@münchen.example\r\n\r\nbody".encode()
    assert words(raw, zone, sender="j@xn--mnchen-3ya.example").dmarc == "pass"


@pytest.mark.parametrize(
    ("silent", "result"),
    [
        (["*"], ("temperror", "temperror", "temperror")),
        (["acme.example"], ("temperror", "pass", "pass")),
        (["s1._domainkey.acme.example"], ("pass", "temperror", "pass")),
        (["_dmarc.acme.example"], ("pass", "pass", "temperror")),
    ],
)
def test_missing_answers_are_temporary(silent: list[str], result: tuple[str, str, str]) -> None:
    found = check(signed(), CLIENT, "mx.acme.example", "joe@acme.example", FakeDns(ALL, silent), at=AT)
    assert found == SenderAuth(*result)


def test_a_failure_that_a_missing_answer_may_explain_is_temporary() -> None:
    dns = FakeDns(DMARC, ["s1._domainkey.acme.example"])
    assert check(signed(), CLIENT, "x.example", "x@other.example", dns, at=AT).dmarc == "temperror"


def test_without_a_resolver_nothing_is_tested() -> None:
    assert check(signed(), CLIENT, "mx.acme.example", "joe@acme.example", None) == UNTESTED


@pytest.mark.parametrize("client", ["127.0.0.1", "::1", "10.0.0.9", "::ffff:192.168.1.1", "fe80::1"])
def test_local_mail_without_a_signature_asks_nothing(client: str) -> None:
    dns = FakeDns(ALL)
    assert check(UNSIGNED, client, "x", "joe@acme.example", dns) == UNTESTED
    assert not dns.asked


def test_time_and_lookups_are_capped() -> None:
    now = iter(range(1000))
    slow = check(signed(), CLIENT, "x", "joe@acme.example", FakeDns(ALL), monotonic=lambda: float(next(now)) * 3)
    assert slow == SenderAuth("pass", "temperror", "temperror")
    budget = sender_auth._Budget(FakeDns({}), lambda: 0.0)
    for number in range(sender_auth.LOOKUPS):
        assert budget.txt(f"n{number}.example") == budget.txt(f"n{number}.example") == ()
    with pytest.raises(LookupFailed):
        budget.a("one.example")


class StuckDns(FakeDns):
    """Answers SPF at once, hangs on everything else."""

    def __init__(self) -> None:
        super().__init__(ALL)
        self.released = threading.Event()

    def txt(self, name: str) -> tuple[bytes, ...]:
        if name != "acme.example":
            self.released.wait(5)
        return super().txt(name)


async def test_a_stuck_dns_delays_nobody_longer_than_asked() -> None:
    dns = StuckDns()
    checks = SenderCheck(dns, wait_s=0.15)
    started = time.monotonic()
    found = await asyncio.gather(
        *(checks.check(signed(), CLIENT, "x", "joe@acme.example", at=AT) for _ in range(sender_auth.WAITING + 5))
    )
    assert time.monotonic() - started < 2
    assert set(found) <= {SenderAuth("pass", "temperror", "temperror"), UNANSWERED}
    assert found.count(UNANSWERED) >= 5
    dns.released.set()
    checks.close()


async def test_checks_beside_the_loop_say_the_same() -> None:
    checks = SenderCheck(FakeDns(ALL))
    assert await checks.check(signed(), CLIENT, "x", "joe@acme.example", at=AT) == SenderAuth("pass", "pass", "pass")
    assert await checks.check(UNSIGNED, "127.0.0.1", "x", "joe@acme.example") == UNTESTED
    checks.close()
    assert await SenderCheck(None).check(MAIL, CLIENT, "x", "joe@acme.example") == UNTESTED


@pytest.mark.parametrize("raw", [b"", b"\xff" * 1000, b"From: " + b"(" * 100_000, b"DKIM-Signature:\r\n" * 5000])
def test_any_bytes_are_judged(raw: bytes) -> None:
    assert isinstance(words(raw, ALL), SenderAuth)
