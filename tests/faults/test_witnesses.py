"""The oracles over the journal bite: each finds a planted offence, and nothing in a campaign that went well."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.faults import witnesses
from tests.faults.witnesses import Evidence, Letter, Seen

LEASED = {"what": "leased", "at": 2.0, "asked": 1.0, "address": "a@x", "mailbox_id": "mbx_a", "lease_id": "lse_a"}
SENT = {"what": "mails", "at": 10.0, "token": "t1", "number": 1, "to": ["a@x"], "digest": "d"}
ACKED = {"what": "mailed", "at": 11.0, "began": 10.0, "token": "t1", "number": 1, "outcome": "acked", "taken": ["a@x"]}
READ = {"method": "GET", "path": "/v2/messages", "age": 9}
CALL = {"what": "http", "at": 21.0, "began": 20.0, "call": "c1", "status": 200, **READ}
OUTAGE = {"what": "fault", "at": 33, "fault": "PostgreSQL SIGKILL", "breaks": "outage", "began": 30.0, "ended": 31.0}
HEALED = {**OUTAGE, "ready_s": 1.0, "undone": "", "others": 0.1}
WRITTEN = {"what": "written", "at": 5.0, "token": "l1", "attempt": "snd", "to": ["far@y", "b@x"]}
RELAYED = {"what": "relayed", "at": 90.0, "token": "l1", "to": ["far@y"]}
HOOKED = {"what": "hooked", "at": 6.0, "path": "/hook/ten", "id": "evt_1", "event": "evt_1", "taken": True}
FAR = Letter("l1", "snd", "far@y", "sent", "smtp", 1)
NEAR = Letter("l1", "snd", "b@x", "delivered", "local", 1)
SEEN = Seen("t1", "msg_1", "ten_a", "mbx_a", "lse_a")
AT_THE_DOOR = {"token": "h1", "number": 1, "to": ["far@y", "b@x"], "door": "submission", "digest": "d"}
HANDED = {"what": "mails", "at": 40.0, **AT_THE_DOOR}
TOOK = {
    **HANDED,
    "what": "mailed",
    "at": 41.0,
    "began": 40.0,
    "outcome": "acked",
    "reply": "250",
    "taken": ["far@y", "b@x"],
}
NEIGHBOUR = {**LEASED, "address": "b@x", "mailbox_id": "mbx_b", "lease_id": "lse_b"}
READ_NEXT_DOOR = Seen("l1", "msg_2", "ten_b", "mbx_b", "lse_b")


def evidence(*entries: dict[str, Any], seen: tuple[Seen, ...] = (SEEN,), metered: int = 1) -> Evidence:
    return Evidence([LEASED, SENT, ACKED, CALL, HEALED, *entries], list(seen), {"c1": metered} if metered else {})


def offended(found: Evidence) -> set[str]:
    return {name for name, rows in witnesses.ask_all(found).items() if rows}


def test_a_campaign_that_went_well_offends_nobody() -> None:
    assert offended(evidence()) == set()


@pytest.mark.parametrize(
    ("oracle", "entries", "more"),
    [
        ("I1 acknowledged, readable once", [], {"seen": ()}),
        ("I1 acknowledged, readable once", [], {"seen": (SEEN, SEEN)}),
        ("I1 acknowledged, readable once", [], {"seen": (SEEN, Seen("other", "msg_2", "ten_a", "mbx_a", "lse_a"))}),
        ("I2 each answer metered once", [], {"metered": 0}),
        ("I2 each answer metered once", [], {"metered": 2}),
        ("I2 each answer metered once", [{**CALL, "call": "c2", "status": 201}], {}),
        ("a nonce signs in once", [{**CALL, "path": "/v2/auth/siwe/verify", "nonce": "n"}] * 2, {}),
        ("I5 the log extends every head", [{"what": "wrong", "at": 1, "who": "audit"}], {}),
        (
            "I7 nothing outside its lease",
            [{"what": "released", "at": 9.0, "asked": 8.0, "lease": "lse_a", "address": "a@x"}],
            {},
        ),
        ("I9 no failure without a cause", [{**CALL, "path": "/v2/auth/me", "status": 500}], {}),
        ("I9 no failure without a cause", [{**CALL, "path": "/v2/auth/me", "status": 503}], {}),
        ("I9 no failure without a cause", [{**CALL, "path": "/v2/auth/me", "status": None}], {}),
        ("I9 no failure without a cause", [{**ACKED, "token": "t2", "outcome": "deferred"}], {}),
        ("I9 no failure without a cause", [{**ACKED, "token": "t2", "outcome": "refused"}], {}),
        ("I9 no failure without a cause", [{"what": "unreachable", "at": 50.0, "began": 49.0}], {}),
        ("I9 ready within ten seconds", [{**HEALED, "ready_s": 10.5}], {}),
        ("I9 ready within ten seconds", [{**HEALED, "ready_s": 10.5, "others": 0.24}], {}),
        ("I9 ready within ten seconds", [{**HEALED, "ready_s": 20.5, "others": 0.5}], {}),
        ("I9 ready within ten seconds", [{**HEALED, "ready_s": -1.0}], {}),
        ("I9 ready within ten seconds", [{**HEALED, "undone": "SIGTERM ended with status 1"}], {}),
        ("credentials are kept", [{**CALL, "path": "/v2/messages/wait", "status": 401}], {}),
        ("credentials are kept", [{"what": "unreachable", "at": 31.0, "began": 30.9, "said": "535 5.7.8 Wrong"}], {}),
        ("I1 half a mail is none", [{"what": "halved", "at": 1.0, "token": "t1", "to": ["a@x"]}], {}),
        ("I9 no failure without a cause", [{**TOOK, "outcome": "refused", "reply": "550 5.1.1 Who?"}], {}),
    ],
)
def test_an_offence_is_found(oracle: str, entries: list[dict[str, Any]], more: dict[str, Any]) -> None:
    assert oracle in offended(evidence(*entries, **more))


@pytest.mark.parametrize(
    ("entries", "more"),
    [
        # A copy more for each try whose answer was lost, or that ended in a 4yz of an outage.
        (
            [{**SENT, "number": 2}, {**ACKED, "number": 2, "at": 30.5, "began": 30.2, "outcome": "unknown"}],
            {"seen": (SEEN, SEEN)},
        ),
        (
            [{**SENT, "number": 2}, {**ACKED, "number": 2, "at": 30.5, "began": 30.2, "outcome": "deferred"}],
            {"seen": (SEEN, SEEN)},
        ),
        ([{**SENT, "number": 2}], {"seen": (SEEN, SEEN)}),
        ([{**CALL, "call": "c2", "status": None, "began": 30.1, "at": 30.3}], {}),
        ([{**CALL, "call": "c2", "status": 503, "began": 30.1, "at": 30.3}], {}),
        ([{**CALL, "call": "c2", "status": 402}], {}),
        ([{**CALL, "call": "c2", "status": 401, "age": 3500}], {}),
        ([{"what": "unreachable", "at": 31.0, "began": 30.9}], {}),
        ([{**HEALED, "ready_s": 19.0, "others": 0.5}], {}),
        ([HANDED, {**TOOK, "outcome": "refused", "reply": "550 5.7.1 Payment"}], {}),
    ],
    ids="unknown deferred unanswered lost outage refused expired unreachable others-work unpaid".split(),
)
def test_what_a_fault_excuses_is_no_offence(entries: list[dict[str, Any]], more: dict[str, Any]) -> None:
    assert offended(evidence(*entries, **more)) == set()


def outgoing(*entries: dict[str, Any], **changed: Any) -> Evidence:
    """A letter to two, one here and one elsewhere, and an event of it."""
    found = evidence(WRITTEN, NEIGHBOUR, *entries, seen=(SEEN, READ_NEXT_DOOR))
    found.letters, found.deliveries, found.told = [FAR, NEAR], [("/hook/ten", "evt_1")], {"evt_1"}
    for name, value in changed.items():
        setattr(found, name, value)
    return found


def test_a_letter_that_went_well_offends_nobody() -> None:
    assert offended(outgoing(RELAYED, HOOKED)) == set()
    lost = Letter("l1", "snd", "far@y", "sent", "smtp", 2)  # a worker died in between: a second copy is no offence
    assert offended(outgoing(RELAYED, RELAYED, HOOKED, letters=[lost, NEAR])) == set()


@pytest.mark.parametrize(
    ("oracle", "entries", "changed"),
    [
        ("I1 letters go out once", [HOOKED], {}),
        ("I1 letters go out once", [RELAYED, RELAYED, HOOKED], {}),
        ("I1 letters go out once", [RELAYED, HOOKED, {**RELAYED, "token": "l2"}], {}),
        ("I1 letters go out once", [RELAYED, HOOKED], {"letters": [FAR]}),
        ("I1 letters go out once", [RELAYED, HOOKED, {**WRITTEN, "attempt": "snd2"}], {}),
        ("I1 letters come next door once", [RELAYED, HOOKED], {"seen": [SEEN]}),
        ("I6 what was delivered has come", [RELAYED], {}),
        ("I6 what was delivered has come", [RELAYED, {**HOOKED, "taken": False}], {}),
        ("I6 what was delivered has come", [RELAYED, HOOKED, {**HOOKED, "id": "evt_2", "event": "evt_2"}], {}),
        ("I6 what was delivered has come", [RELAYED, HOOKED, {**HOOKED, "id": "other"}], {}),
    ],
)
def test_a_letter_or_an_event_that_went_astray_is_found(
    oracle: str, entries: list[dict[str, Any]], changed: dict[str, Any]
) -> None:
    assert offended(outgoing(*entries, **changed)) == {oracle}


def handed(
    *entries: dict[str, Any], attempts: tuple[str, ...] = ("snd",), to: tuple[str, ...] = ("far@y", "b@x")
) -> Evidence:
    """A mail handed in by SMTP for one here and one elsewhere."""
    copies = [{**RELAYED, "token": "h1"} for _ in attempts]
    seen = [Seen("h1", f"msg_{each}", "ten_b", "mbx_b", "lse_b") for each in attempts if "b@x" in to]
    found = evidence(NEIGHBOUR, HANDED, *copies, *entries, seen=(SEEN, *seen))
    far = [Letter("h1", each, "far@y", "sent", "smtp", 1) for each in attempts]
    near = [Letter("h1", each, "b@x", "delivered", "local", 0) for each in attempts if "b@x" in to]
    found.letters = [*far, *near]
    found.metered["smtp-0123"] = len(attempts)
    return found


AGAIN = {**HANDED, "number": 2}
LOST = {**TOOK, "number": 2, "at": 30.5, "began": 30.2, "outcome": "unknown"}


@pytest.mark.parametrize(
    ("entries", "more", "clean"),
    [
        ([TOOK], {}, True),
        ([TOOK, AGAIN, LOST], {"attempts": ("snd", "snd2")}, True),
        ([TOOK], {"attempts": ("snd", "snd2")}, False),
        ([TOOK], {"attempts": ()}, False),
        ([TOOK], {"to": ("far@y",)}, False),
        ([{**TOOK, "outcome": "refused", "reply": "550 5.7.1 Payment"}], {}, False),
    ],
    ids=["well", "answer-lost", "twice", "lost", "a-recipient-lost", "refused-and-sent"],
)
def test_what_is_handed_in_is_one_attempt(entries: list[dict[str, Any]], more: dict[str, Any], clean: bool) -> None:
    assert offended(handed(*entries, **more)) == (set() if clean else {"I1 handed in, one attempt"})


def test_an_altered_mail_is_found() -> None:
    found = evidence()
    found.altered = [{"message_id": "msg_1"}]
    assert offended(found) == {"I1 octet for octet"}


def test_every_witness_is_tried_here() -> None:
    tried = re.findall(r'"((?:I\d|a|credentials) [^"]+)"', Path(__file__).read_text())
    assert {*witnesses.WITNESSES} <= {*tried}


def test_an_answer_given_again_is_not_metered_again() -> None:
    found = evidence({**CALL, "call": "c2", "method": "POST", "path": "/v2/mailboxes/leases", "replayed": True})
    assert offended(found) == set()
    found.metered["c2"] = 1
    assert offended(found) == {"I2 each answer metered once"}


def test_a_503_that_says_it_may_have_been_done_may_have_been() -> None:
    lost = {**CALL, "call": "c2", "status": 503, "began": 30.1, "at": 30.3}
    open_ended = {**lost, "body": witnesses._MAYBE}
    for entry, clean in ((lost, False), (open_ended, True)):
        found = evidence(entry)
        found.metered["c2"] = 1
        assert (offended(found) == set()) is clean
