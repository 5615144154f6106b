"""Oracles over what clients were told: their journal against what the instance shows and has metered. Pure.

Each gives the offending entries; an entry of WITNESSES more is an oracle more.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from leasebox.infra.db import OutcomeUnknown
from tests.faults.journal import Entry
from tests.faults.oracles import Row
from tests.faults.share import stretched

READY_S = 10.0
# A client notices the end of an outage a little later than whoever looks for it.
_GRACE_S = 2.0
# An hour, less the ten minutes by which the clock may be ahead.
_SESSION_S = 3000
_LEASES, _MESSAGES = "/v2/mailboxes/leases", "/v2/messages"
_PAYABLE = {
    ("POST", _LEASES),
    ("GET", _MESSAGES),
    ("GET", f"{_MESSAGES}/wait"),
    ("POST", f"{_MESSAGES}/send"),
    ("POST", "/v2/webhooks"),
}
_Key = tuple[str, str]
_MAYBE = OutcomeUnknown.fix
# How the submission door names its calls.
_BY_SMTP = "smtp-"


class Seen(msgspec.Struct):
    """A message as its lessee finds it by the API. token: its subject."""

    token: str
    message_id: str
    tenant_id: str
    mailbox_id: str
    lease_id: str


class Letter(msgspec.Struct):
    """A recipient of a send attempt, as the database has it. handed_over: tries that may have come through."""

    token: str
    attempt: str
    address: str
    state: str
    route: str
    handed_over: int


class Evidence(msgspec.Struct):
    """metered: usage events by request id. altered: messages whose raw form is not what was sent. deliveries: those of
    webhooks that have succeeded, as path and event. told: ids of all facts. proofs: how many are in each state."""

    entries: list[Entry]
    seen: list[Seen]
    metered: dict[str, int]
    altered: list[Row] = []
    letters: list[Letter] = []
    deliveries: list[tuple[str, str]] = []
    told: set[str] = set()
    proofs: dict[str, int] = {}

    def of(self, what: str) -> Iterator[Entry]:
        return (entry for entry in self.entries if entry["what"] == what)


def lost_or_doubled(evidence: Evidence) -> Iterable[Row]:
    """I1: a mail answered 250 that is not readable exactly once; more copies than answers that were lost allow."""
    addresses = {entry["mailbox_id"]: entry["address"] for entry in evidence.of("leased")}
    shown = Counter((each.token, addresses.get(each.mailbox_id, each.mailbox_id)) for each in evidence.seen)
    acked, unknown = tries(evidence)
    letters = {each.token for each in evidence.letters}
    for key in {key for key in (*shown, *acked) if key[0] not in letters}:
        if not acked[key] <= shown[key] <= acked[key] + unknown[key]:
            yield {"token": key[0], "to": key[1], "acked": acked[key], "unknown": unknown[key], "shown": shown[key]}


def tries(evidence: Evidence, door: str = "mx") -> tuple[Counter[_Key], Counter[_Key]]:
    """By token and address: tries at a door that were answered 250, and those that ended without a 250."""
    acked: Counter[_Key] = Counter()
    unknown: Counter[_Key] = Counter()
    begun = {(entry["token"], entry["number"]): entry["to"] for entry in _at(evidence.of("mails"), door)}
    for entry in _at(evidence.of("mailed"), door):
        to = begun.pop((entry["token"], entry["number"]), [])
        if entry["outcome"] == "acked":
            acked.update((entry["token"], address) for address in entry["taken"])
        elif entry["outcome"] in ("unknown", "deferred"):
            # After a 4yz, too: when the database goes away in the middle of a COMMIT, nobody knows what became of it.
            unknown.update((entry["token"], address) for address in to)
    for (token, _), to in begun.items():
        unknown.update((token, address) for address in to)
    return acked, unknown


def _at(entries: Iterable[Entry], door: str) -> Iterator[Entry]:
    return (entry for entry in entries if entry.get("door", "mx") == door)


def half_a_mail(evidence: Evidence) -> Iterable[Row]:
    """I1: a mail of which only half came before the connection broke, and which is shown all the same."""
    halved = {entry["token"] for entry in evidence.of("halved")}
    return (msgspec.to_builtins(each) for each in evidence.seen if each.token in halved)


def handed_in_astray(evidence: Evidence) -> Iterable[Row]:
    """I1, outwards by SMTP: what was answered 250 is one attempt for all its recipients; more of them only where the
    client saw no 250; what was refused is none."""
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for letter in evidence.letters:
        found[letter.token][letter.attempt].add(letter.address)
    acked, unknown = tries(evidence, "submission")
    wanted = {entry["token"]: set(entry["to"]) for entry in _at(evidence.of("mails"), "submission")}
    for token, to in wanted.items():
        attempts = found.get(token, {})
        least, doubts = (max((counted[token, address] for address in to), default=0) for counted in (acked, unknown))
        if not least <= len(attempts) <= least + doubts or any(got != to for got in attempts.values()):
            yield {"token": token, "to": sorted(to), "acked": least, "unknown": doubts, "found": len(attempts)}


def altered(evidence: Evidence) -> Iterable[Row]:
    """I1: a mail that is not what was sent, octet for octet."""
    return evidence.altered


def wrongly_metered(evidence: Evidence) -> Iterable[Row]:
    """I2, I4: an answered payable call without its one usage event, a refused one with any, or an event of no call."""
    left = dict(evidence.metered)
    for entry in evidence.of("http"):
        if (entry["method"], entry["path"]) in _PAYABLE:  # what was handed in by SMTP is counted by an oracle
            events, status = left.pop(entry["call"], 0), entry["status"]
            paid = status in (200, 201, 202) and not entry.get("replayed")
            is_open = status is None or (status == 503 and _MAYBE in entry.get("body", ""))
            expected = (1,) if paid else (0, 1) if is_open else (0,)
            if events not in expected:
                yield {"call": entry["call"], "status": status, "events": events}
    for call, events in left.items():
        if not call.startswith(_BY_SMTP):
            yield {"call": call, "events": events, "status": "no such call"}


def letters_astray(evidence: Evidence) -> Iterable[Row]:
    """I1, outwards: what was answered 202 is on its way once, for each recipient; no copy that no try explains."""
    copies = Counter((entry["token"], to) for entry in evidence.of("relayed") for to in entry["to"])
    written: dict[str, dict[str, Letter]] = defaultdict(dict)
    for each in evidence.letters:
        written[each.token][each.address] = each
    for entry in evidence.of("written"):
        attempts = {each.attempt for each in written[entry["token"]].values()}
        if attempts != {entry["attempt"]} or set(written[entry["token"]]) != set(entry["to"]):
            yield {**entry, "found": sorted(written[entry["token"]]), "attempts": sorted(attempts)}
    sent: Counter[_Key] = Counter()
    handed_over: Counter[_Key] = Counter()
    for letter in evidence.letters:
        sent[letter.token, letter.address] += letter.state == "sent" and letter.route == "smtp"
        handed_over[letter.token, letter.address] += letter.handed_over
    for key, most in handed_over.items():
        came = copies.pop(key, 0)
        if not sent[key] <= came <= most:
            yield {"token": key[0], "to": key[1], "came": came, "sent": sent[key], "handed over": most}
    yield from ({"token": token, "to": to, "came": came, "why": "of no letter"} for (token, to), came in copies.items())


def letters_next_door(evidence: Evidence) -> Iterable[Row]:
    """I1, within: a letter that was delivered to a mailbox here is read there once."""
    addresses = {entry["mailbox_id"]: entry["address"] for entry in evidence.of("leased")}
    shown = Counter((each.token, addresses.get(each.mailbox_id)) for each in evidence.seen)
    delivered: Counter[_Key] = Counter()
    for each in evidence.letters:
        if each.route == "local":
            delivered[each.token, each.address] += each.state == "delivered"
    for key, times in delivered.items():
        if shown[key] != times:
            yield {"token": key[0], "to": key[1], "shown": shown[key], "delivered": times}


def hooks_astray(evidence: Evidence) -> Iterable[Row]:
    """I6: a delivery that succeeded and never came, or an event of no fact; its id is the fact's on every try."""
    taken = {(entry["path"], entry["id"]) for entry in evidence.of("hooked") if entry["taken"]}
    yield from ({"path": path, "event": event} for path, event in evidence.deliveries if (path, event) not in taken)
    for entry in evidence.of("hooked"):
        if entry["id"] != entry["event"] or entry["event"] not in evidence.told:
            yield entry


def told_of_twice(evidence: Evidence) -> Iterable[Row]:
    """A nonce that signed in twice."""
    used = Counter(
        entry["nonce"]
        for entry in evidence.of("http")
        if entry["status"] == 200 and "nonce" in entry and entry["nonce"]
    )
    return ({"nonce": nonce, "sign_ins": times} for nonce, times in used.items() if times > 1)


def outside_its_lease(evidence: Evidence) -> Iterable[Row]:
    """I7: a message shown to somebody who did not have the address when it was sent."""
    held = {entry["lease_id"]: [entry["asked"], float("inf")] for entry in evidence.of("leased")}
    for entry in evidence.of("released"):
        if entry["lease"] in held:
            held[entry["lease"]][1] = entry["at"]
    spans: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for entry in evidence.of("mailed"):
        if entry["outcome"] in ("acked", "unknown"):
            spans[entry["token"]].append((entry["began"], entry["at"]))
    for each in evidence.seen:
        begin, end = held.get(each.lease_id, (0.0, float("inf")))
        if each.token in spans and not any(_meet(span, (begin, end)) for span in spans[each.token]):
            yield msgspec.to_builtins(each)


def broken_without_cause(evidence: Evidence) -> Iterable[Row]:
    """I9: a 5xx but 503 at any time; a 503 or 4yz but in an outage; a broken connection or a hang but near a fault."""
    faults = list(evidence.of("fault"))
    outages = [_window(entry) for entry in faults if entry["breaks"] in ("outage", "launcher")]
    any_fault = [_window(entry) for entry in faults]
    for entry in evidence.of("http"):
        span, status = (entry["began"], entry["at"]), entry["status"]
        excused = outages if status == 503 else any_fault if status is None else []
        if (status is None or status >= 500) and not any(_meet(span, window) for window in excused):
            yield entry
    for entry in evidence.of("mailed"):
        span, outcome = (entry["began"], entry["at"]), entry["outcome"]
        excused = {"deferred": outages + _kills(faults), "unknown": any_fault}.get(outcome, [])
        # Nobody may have the name at the moment; what is handed in may have to be paid for first.
        expected = ("acked", "refused") if entry.get("moving") or _wants_pay(entry) else ("acked",)
        if outcome not in expected and not any(_meet(span, window) for window in excused):
            yield entry
    for entry in evidence.of("unreachable"):
        if not any(_meet((entry["began"], entry["at"]), window) for window in any_fault):
            yield entry


def forgotten_credentials(evidence: Evidence) -> Iterable[Row]:
    """A 401 for a key, or for a session that nobody has ended and whose hour is not over; a password refused."""
    yield from (entry for entry in evidence.of("unreachable") if entry.get("said", "").startswith("535"))
    for entry in evidence.of("http"):
        if entry["status"] == 401 and not entry["path"].startswith("/v2/auth") and entry["age"] < _SESSION_S:
            yield entry


def slow_to_recover(evidence: Evidence) -> Iterable[Row]:
    """I9: readiness that came back later than 10 s after the end of an outage; a SIGTERM that was not kept to.

    The load of the campaign itself is no excuse. While others use a quarter or more of the processors, the limit
    stretches by what they leave.
    """
    for entry in evidence.of("fault"):
        if not 0 <= entry["ready_s"] <= stretched(READY_S, entry["others"]) or "SIGTERM" in entry["undone"]:
            yield entry


def broken_promises(evidence: Evidence) -> Iterable[Row]:
    """What was found by whoever looked: the audit verifier, an export, a log with a trace of an error."""
    return evidence.of("wrong")


WITNESSES: dict[str, Callable[[Evidence], Iterable[Row]]] = {
    "I1 acknowledged, readable once": lost_or_doubled,
    "I1 octet for octet": altered,
    "I1 half a mail is none": half_a_mail,
    "I1 handed in, one attempt": handed_in_astray,
    "I1 letters go out once": letters_astray,
    "I1 letters come next door once": letters_next_door,
    "I6 what was delivered has come": hooks_astray,
    "I2 each answer metered once": wrongly_metered,
    "a nonce signs in once": told_of_twice,
    "I5 the log extends every head": broken_promises,
    "I7 nothing outside its lease": outside_its_lease,
    "I9 no failure without a cause": broken_without_cause,
    "I9 ready within ten seconds": slow_to_recover,
    "credentials are kept": forgotten_credentials,
}


def ask_all(evidence: Evidence) -> dict[str, list[Row]]:
    """Every oracle over the journal by name, with what offends."""
    return {name: list(oracle(evidence)) for name, oracle in WITNESSES.items()}


def _wants_pay(entry: Entry) -> bool:
    return entry.get("door") == "submission" and entry["reply"].startswith("550 5.7.1")


def _window(fault: Entry) -> tuple[float, float]:
    ready_s: Any = fault["ready_s"]
    return fault["began"] - 0.2, fault["ended"] + max(ready_s, 0) + _GRACE_S


def _kills(faults: list[Entry]) -> list[tuple[float, float]]:
    return [_window(entry) for entry in faults if "smtp" in entry["fault"]]


def _meet(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]
