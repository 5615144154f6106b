"""Which way each recipient goes: by suppressions, denied domains, and what the mailboxes of this instance say."""

from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from leasebox.leases.inbound import Inbound, Slot
from leasebox.mail.house import MAIL_OCTETS
from leasebox.sending import return_path, routing
from leasebox.sending.addressees import Kind, read_addressee
from leasebox.sending.compose import message_of
from leasebox.sending.model import LOCAL_RETRY, REPLIES, TAKEN, Letter
from leasebox.sending.routing import Named, Sifted
from leasebox.values.addresses import Mailbox
from leasebox.values.ids import LeaseId, MailboxId, SendAttemptId, TenantId
from leasebox.values.keys import Purpose, ring
from leasebox.wiring.sending import send_policy
from tests.fakes.clock import FakeClock
from tests.kit import House, settings_for
from tests.kit_mail import change, shared_house
from tests.sending.writing_desk import Writer

__all__ = ["shared_house"]
NOW = FakeClock().now()
HERE = "inbox.leasebox.test"
SLOT = Slot(LeaseId.new(NOW), MailboxId.new(NOW), TenantId.new(NOW))
LETTER = Letter(SendAttemptId.new(NOW), MailboxId.new(NOW), f"me@{HERE}", b"", message_of(b"\r\n"), ())
LATER = msgspec.structs.replace(LETTER, send_at=NOW + timedelta(days=1))


def named(*texts: str, kind: Kind = "to") -> list[Named]:
    return [(kind, read_addressee(text)) for text in texts]


def sifted(*texts: str) -> Sifted:
    return Sifted([], named(*texts), frozenset({HERE}))


def test_a_mailbox_is_asked_once_whatever_its_tags() -> None:
    found = sifted(f"a@{HERE}", f"A+x@{HERE}", "b@b.example", f"c@{HERE}")
    assert found.boxes() == [f"a@{HERE}", f"c@{HERE}"]
    planned, rejected = routing.place(found, {f"a@{HERE}": Inbound.TAKEN, f"c@{HERE}": Inbound.UNKNOWN}, LETTER)
    assert routing.deliverable(planned, LETTER) == [f"a@{HERE}"]
    assert routing.deliverable(planned, LATER) == []
    places = routing.delivered(planned, {f"a@{HERE}": SLOT})
    assert [(each.addressee.address, each.route, each.state) for each in places] == [
        (f"a@{HERE}", None, "delivered"),
        (f"A+x@{HERE}", None, "delivered"),
        ("b@b.example", "smtp", "queued"),
    ]
    assert places[0].reply == TAKEN
    assert [(each.address, each.reason) for each in rejected] == [(f"c@{HERE}", "unknown_mailbox")]


@pytest.mark.parametrize(
    ("verdict", "now", "later"),
    [
        (Inbound.TAKEN, "queued", "queued"),
        (Inbound.PAUSED, "deferred", "queued"),
        (Inbound.OVER_QUOTA, "deferred", "queued"),
        (Inbound.UNKNOWN, "unknown_mailbox", "unknown_mailbox"),
        (Inbound.ENDED, "mailbox_ended", "mailbox_ended"),
        (Inbound.FROZEN, "mailbox_frozen", "mailbox_frozen"),
    ],
)
def test_what_a_mailbox_says_decides(verdict: Inbound, now: str, later: str) -> None:
    for letter, wanted in ((LETTER, now), (LATER, later)):
        places, rejected = routing.place(sifted(f"a@{HERE}"), {f"a@{HERE}": verdict}, letter)
        assert [*(each.state for each in places), *(each.reason for each in rejected)] == [wanted]
        assert {each.route for each in places} <= {"local"}


def test_hops_are_by_destination_and_wait_for_their_time() -> None:
    found = sifted("a@x.example", "b@x.example", "c@y.example", f"p@{HERE}", f"d@{HERE}")
    verdicts = {f"p@{HERE}": Inbound.PAUSED, f"d@{HERE}": Inbound.TAKEN}
    planned, _ = routing.place(found, verdicts, LETTER)
    places = routing.delivered(planned, {f"d@{HERE}": SLOT})
    assert routing.hops(places, LETTER, NOW) == [
        ("x.example", "smtp", NOW),
        ("y.example", "smtp", NOW),
        (HERE, "local", NOW + LOCAL_RETRY),
    ]
    places, _ = routing.place(found, verdicts, LATER)
    assert {at for _, _, at in routing.hops(places, LATER, NOW)} == {LATER.send_at}


@pytest.mark.parametrize("verdict", [Inbound.ENDED, Inbound.PAUSED, Inbound.FROZEN, Inbound.OVER_QUOTA])
def test_a_mailbox_that_changed_its_mind_is_asked_again_by_the_queue(verdict: Inbound) -> None:
    planned, _ = routing.place(sifted(f"a@{HERE}"), {f"a@{HERE}": Inbound.TAKEN}, LETTER)
    (place,) = routing.delivered(planned, {f"a@{HERE}": verdict})
    assert (place.route, place.state, place.reply) == ("local", "deferred", REPLIES[verdict])
    assert routing.hops([place], LETTER, NOW) == [(HERE, "local", NOW + LOCAL_RETRY)]


async def test_suppressed_and_denied_are_left_out_and_domains_of_ours_known(shared_house: House) -> None:
    ann = await Writer.new(shared_house)
    policy = send_policy(shared_house.settings)
    await ann.http.post("/v2/suppressions", json={"address": "gone@a.example"})
    await change(shared_house, "INSERT INTO denied_domains VALUES ('recipient', 'denied.example', '', 'test', now())")
    await change(
        shared_house,
        """INSERT INTO domains (id, tenant_id, name, state, token, found, created_at, misses)
           VALUES (gen_random_uuid(), $1, 'brought.example', 'verified', 'token', '{}', now(), 0)""",
        ann.tenant_id,
    )
    texts = ("Gone@A.example", "x@mx.denied.example", "a@a.example", f"b@{HERE}", "c@brought.example")
    letter = msgspec.structs.replace(LETTER, recipients=tuple(named(*texts)))
    found = await shared_house.db.read(lambda tx: routing.sift(tx, ann.tenant_id, letter, policy))
    assert [(each.address, each.reason) for each in found.rejected] == [
        ("Gone@a.example", "suppressed"),
        ("x@mx.denied.example", "denied_domain"),
    ]
    assert [each.address for _, each in found.wanted] == ["a@a.example", f"b@{HERE}", "c@brought.example"]
    assert found.local == {HERE, "brought.example"}
    at = shared_house.clock.now()
    boxes = [ann.address, f"b@{HERE}"]
    assert await shared_house.db.read(lambda tx: routing.foresee(tx, boxes, policy, at)) == {
        ann.address: Inbound.TAKEN,
        f"b@{HERE}": Inbound.UNKNOWN,
    }


async def test_role_addresses_take_what_is_not_too_large(shared_house: House) -> None:
    ann = await Writer.new(shared_house)
    policy = send_policy(shared_house.settings)
    letter = msgspec.structs.replace(LETTER, recipients=tuple(named(f"Postmaster@{HERE}", "postmaster@a.example")))
    found = await shared_house.db.read(lambda tx: routing.sift(tx, ann.tenant_id, letter, policy))
    assert (list(found.errands), found.boxes(), found.rejected) == ([f"postmaster@{HERE}"], [], [])
    places, _ = routing.place(found, {}, letter)
    assert [(each.route, each.state) for each in places] == [(None, "delivered"), ("smtp", "queued")]
    places, _ = routing.place(found, {}, msgspec.structs.replace(letter, send_at=LATER.send_at))
    assert [(each.route, each.state) for each in places] == [("local", "queued"), ("smtp", "queued")]
    large = msgspec.structs.replace(letter, content=bytes(MAIL_OCTETS + 1))
    refused = await shared_house.db.read(lambda tx: routing.sift(tx, ann.tenant_id, large, policy))
    assert [each.reason for each in refused.rejected] == ["too_large"]


def test_a_return_path_of_ours_is_no_recipient(tmp_path: Path) -> None:
    settings = settings_for("postgresql://x", "redis://x", str(tmp_path))
    paths = ring(settings.secret, None, Purpose.RETURN_PATH)
    path = Mailbox.parse(return_path.make(paths, SendAttemptId.new(NOW), HERE))
    policy = send_policy(settings)
    assert policy.house is not None and policy.house.errand(path) is not None
    assert policy.errand(path) is None
    assert policy.errand(Mailbox.parse(f"abuse@{HERE}")) is not None
    assert policy.errand(Mailbox.parse("abuse@elsewhere.example")) is None
