"""The error tree in SMTP's words: 4yz where the same mail may pass later, 5yz where it will not."""

from datetime import UTC, datetime

import pytest

from leasebox.billing.errors import InvalidPaymentProof, PaymentRequired
from leasebox.leases.errors import LeaseEnded, MailboxFrozen, MailboxPaused
from leasebox.leases.logins import Standing
from leasebox.sending import submission_replies as answers
from leasebox.sending.errors import CooldownLimit, DailyLimit, MailboxFull, NobodyLeft
from leasebox.values.errors import LeaseboxError, NotFound, RateLimited, Unavailable
from tests.mail.smtp_house import codes

SOON = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (LeaseEnded("x"), "550/5.2.1"),
        (MailboxFrozen("x"), "550/5.2.1"),
        (MailboxPaused("x"), "450/4.2.1"),
        (MailboxFull("x"), "452/4.2.2"),
        (PaymentRequired("x"), "550/5.7.1"),
        (InvalidPaymentProof("x", reason="replayed"), "550/5.7.1"),
        (CooldownLimit("x", retry_at=SOON, retry_after_s=60), "450/4.7.1"),
        (CooldownLimit("x", retry_at=None, retry_after_s=None), "550/5.7.1"),
        (DailyLimit("x", retry_after_s=60), "450/4.7.1"),
        (RateLimited("x"), "550/5.7.1"),
        (Unavailable("x", retry_after_s=1), "451/4.3.0"),
        (NobodyLeft("x"), "550/5.7.1"),
        (NotFound("x"), "550/5.7.1"),
    ],
    ids=lambda each: each if isinstance(each, str) else type(each).__name__,
)
def test_refusals(error: LeaseboxError, code: str) -> None:
    assert codes(answers.refusal(error).wire) == [code]


def test_a_refusal_says_what_to_do() -> None:
    said = answers.refusal(CooldownLimit("Ten are used up.", retry_at=SOON, retry_after_s=7)).wire.decode()
    assert said.startswith("450 4.7.1 Ten are used up. Bind a wallet with POST /v2/tenants/wallets/challenge")
    assert said.endswith("Retry in 7 s.\r\n")


@pytest.mark.parametrize("text", ["a\r\n250 OK", "ä" * 9, "x" * 5_000, "\x00\x1b", "\u2028"], ids=range(5))
def test_a_refusal_is_one_line_of_ascii(text: str) -> None:
    wire = answers.refusal(LeaseboxError(text, fix=text)).wire
    assert len(codes(wire)) == 1
    assert len(wire) <= 512
    assert wire.count(b"\r\n") == 1


def test_each_standing_but_good_is_refused() -> None:
    assert answers.SIGN_IN.keys() == set(Standing) - {Standing.GOOD}
    assert not any(each.positive for each in answers.SIGN_IN.values())


def test_the_id_of_what_is_queued_is_told() -> None:
    assert answers.queued("snd_1").wire == b"250 2.0.0 Queued as snd_1\r\n"
