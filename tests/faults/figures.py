"""What a campaign did and saw, in numbers."""

import re
from collections.abc import Sequence

from tests.faults import witnesses
from tests.faults.journal import Entry
from tests.faults.witnesses import Evidence
from tests.faults.world import World

_ROLE_AGAIN, _ENGINE_AGAIN = re.compile(r"role [\w-]+ ended .*starting it again"), re.compile(r"\w+ started again")


def of(world: World, evidence: Evidence, faults: Sequence[Entry]) -> dict[str, float]:
    """By name; all are counts, but the seconds and shares that say so."""
    return {
        **_done(world, [fault for fault in faults if not fault["undone"]]),
        "faults that nobody came to": sum(bool(fault["undone"]) for fault in faults),
        **dict(sorted(world.figures.items())),
        **_mails(evidence),
        **_calls(evidence),
        **_recoveries(faults),
    }


def _done(world: World, done: Sequence[Entry]) -> dict[str, float]:
    log = world.machine.log.read_text(errors="replace")
    return {
        "faults": len(done),
        "kills": sum("kill" in fault["fault"].lower() for fault in done),
        "kills at a named point": sum("“" in fault["fault"] or "middle" in fault["fault"] for fault in done),
        "outages": sum(fault["breaks"] == "outage" for fault in done),
        "restarts of roles": len(_ROLE_AGAIN.findall(log)),
        "restarts of engines": len(_ENGINE_AGAIN.findall(log)),
        "restarts of all": sum(fault["breaks"] == "launcher" for fault in done),
    }


def _mails(evidence: Evidence) -> dict[str, float]:
    acked, unknown = witnesses.tries(evidence)
    addresses = {entry["mailbox_id"]: entry["address"] for entry in evidence.of("leased")}
    shown = {(each.token, addresses.get(each.mailbox_id)) for each in evidence.seen}
    copies = [(entry["token"], to) for entry in evidence.of("relayed") for to in entry["to"]]
    letters = {(each.token, each.attempt) for each in evidence.letters}
    asked = [(entry["path"], entry["id"]) for entry in evidence.of("hooked")]
    return {
        "recipients acknowledged": sum(acked.values()),
        "recipients not acknowledged, tries": sum(unknown.values()),
        "messages readable": len(evidence.seen),
        "duplicates: mails whose 250 was lost": len(evidence.seen) - len(shown),
        "duplicates: mails handed in whose 250 was lost": len(letters) - len({token for token, _ in letters}),
        "letters relayed": len(copies),
        "duplicates: letters whose reply was lost": len(copies) - len(set(copies)),
        "webhook requests": len(asked),
        "duplicates: webhooks tried again": len(asked) - len(set(asked)),
    }


def _calls(evidence: Evidence) -> dict[str, float]:
    statuses = [entry["status"] for entry in evidence.of("http")]
    return {
        "proofs spent": evidence.proofs.get("spent", 0),
        "usage events": sum(evidence.metered.values()),
        "calls refused 402": statuses.count(402),
        "calls answered 503": statuses.count(503),
        "calls whose answer was lost": statuses.count(None),
    }


def _recoveries(faults: Sequence[Entry]) -> dict[str, float]:
    slowest = max(faults, key=lambda fault: float(fault["ready_s"]), default=None)
    return {
        "slowest recovery, s": 0 if slowest is None else slowest["ready_s"],
        "others' share of the processors then, %": 0 if slowest is None else 100 * slowest["others"],
        f"recoveries over {witnesses.READY_S:g} s": sum(fault["ready_s"] > witnesses.READY_S for fault in faults),
        "seconds of faults and recovery": sum(fault["ended"] - fault["began"] + fault["ready_s"] for fault in faults),
    }
