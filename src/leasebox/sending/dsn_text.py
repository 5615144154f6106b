"""Bounces written for people: qmail, Exim, old Postfix and sendmail, Exchange, webmail providers. Pure, total, linear.

No grammar covers them, so they are read as a person would: a sentence says what happened, addresses below it say to
whom, and the lines beside an address say why. Reading stops where the returned mail begins.
"""

import re
from dataclasses import dataclass, field
from typing import Final, Literal

from leasebox.sending.report_parts import canonical

LINES: Final = 600
LINE_CHARS: Final = 600
REASON_LINES: Final = 12
PEOPLE: Final = 200
Word = Literal["failed", "delayed", "delivered"]

# Where the copy of our own mail begins; nothing below is about what happened.
_COPY: Final = re.compile(
    r"\W{0,8}(below this line is a copy|(this is a|start of) (copy|returned)|included is a copy|a copy of (the|your) "
    r"(original )?(message|mail|header)|original message( headers?)?( follows)?\W*$|message headers? follow|"
    r"(returned|unsent|undelivered|original) (message|mail)( headers?)?\W*(follows|below|text)?\W*$|"
    r"headers? of (the )?original|diagnostic information for administrators of)|"
    r"(return-path|received|mime-version|message-id|dkim-signature|x-[a-z-]+): ",
    re.IGNORECASE,
)
_DELAYED: Final = re.compile(
    r"delay(ed)?\b|not yet been delivered|has not been delivered .{0,60}(after|for) more than|temporar(y|ily)|"
    r"will (be retried|keep trying|continue|retry|try again)|still (being )?(tr(ied|ying)|attempt|in queue)|"
    r"you do not need to resend|no action is required|(this is a |^)warning|verz(ö|oe)gert|retrasad|retard[ée]",
    re.IGNORECASE,
)
_FAILED: Final = re.compile(
    r"permanent|fatal error|could ?n[o']t be delivered|(un|not )able to (deliver|send)|undeliver|fail(ed|ure)|"
    r"(was|were|is|been) not delivered|did(n't| not) reach|has been rejected|was rejected|bounced?\b|"
    r"cannot be delivered|give[n]? up|has expired|returned to sender|wasn't (found|able|delivered)|"
    r"couldn't be (found|delivered)|unzustellbar|"
    r"(nicht|konnte nicht).{0,60}zugestellt|n'a (pas )?pu (être|etre)|non (remis|distribu)|no se (ha )?(pudo|podido)|"
    r"no (pudo|ha podido|fue) (ser )?entreg|n[ãa]o (p[ôo]de|foi) |non (è|e') stato (possibile|recapitat)|"
    r"impossibile (recapitare|consegnare)|配信できません|送信できません|無法(傳|送)|无法(投递|送达)",
    re.IGNORECASE,
)
_DELIVERED: Final = re.compile(
    r"success(ful(ly)?)? (deliver|relay)|(was|were|been) (successfully )?(delivered|relayed) to|"
    r"successful delivery notification",
    re.IGNORECASE,
)
# Lines that repeat our mail's own header, or name whom to ask.
_BESIDE: Final = re.compile(
    r"\W{0,4}(to|cc|from|subject|sent|date|reply-to|message-?id|sender|original-from|for help|please (contact|write)|"
    r"contact|if you|for (more|further|assistance)|(from|generated) server|reporting|generating)\b\W",
    re.IGNORECASE,
)
_ADDRESS: Final = re.compile(
    r"""(?<![^\s<>()"'\[:;,=])([^\s<>()"'\[\]:;,=]{1,255}@[^\s<>()"'\[\]:;,=@]{1,253}[^\s<>()"'\[\]:;,=@.])"""
)
_ENHANCED: Final = re.compile(r"(?<![\d.])([45]\.\d{1,3}\.\d{1,3})(?![.\d])")
_REPLY: Final = re.compile(r"(?<![\d.])([45])\d\d(?=[ #:-])")
_HINTS: Final = (
    ("5.2.2", re.compile(r"(mailbox|quota|inbox|storage).{0,30}(full|exceed|over)|over.?quota|quota exceeded", re.I)),
    (
        "5.1.2",
        re.compile(
            r"(couldn't|could not|cannot|can't) find any host|host (or domain name )?(unknown|not found)|"
            r"unknown (host|domain)|domain (name )?(not found|does(n't| not) exist)|no such domain|unrout(e)?able|"
            r"unable to route",
            re.I,
        ),
    ),
    (
        "5.1.1",
        re.compile(
            r"(user|mailbox|recipient|account|address|name).{0,40}(unknown|not (found|exist|recogni[sz]ed|listed)|"
            r"does(n't| not) exist|invalid|no such|unavailable|disabled)|no such (user|mailbox|recipient|person)|"
            r"(unknown|invalid|no) (user|mailbox|recipient|local|address)|doesn't have an? .{0,20}account|"
            r"no mailbox here|not listed in",
            re.I,
        ),
    ),
    ("5.7.1", re.compile(r"spam|blocked|blacklist|blocklist|policy|not authori[sz]ed|relay(ing)? denied", re.I)),
)


@dataclass(slots=True)
class Said:
    """What a text says of one address; None where it names none."""

    outcome: Word
    address: str | None
    reasons: list[str] = field(default_factory=list)

    @property
    def diagnostic(self) -> str:
        """The lines that give the reason, joined."""
        return " ".join(self.reasons)

    @property
    def status(self) -> str | None:
        """RFC 3463's code: the one in the reason, else what its words mean, else the class of its reply code."""
        text = self.diagnostic
        enhanced = _ENHANCED.search(text)
        if enhanced is not None and not enhanced[1].endswith(".0.0"):
            return enhanced[1]
        for status, hint in _HINTS if self.outcome == "failed" else ():
            if hint.search(text):
                return status
        reply = _REPLY.search(text)
        return enhanced[1] if enhanced else f"{reply[1]}.0.0" if reply else None


def read_text(text: str) -> list[Said]:
    """What the text of a bounce says, each address once, in order; [] for a text that says of no delivery."""
    lines = _own_lines(text)
    outcome = _first_outcome(lines)
    if outcome is None:
        return []
    found: dict[str, Said] = {}
    last: Said | None = None
    for before, line in zip(["", *lines], lines, strict=False):
        now = _outcome_of(line) or _outcome_of(f"{before} {line}") or outcome
        if now != outcome:
            outcome, last = now, None
        addresses = [] if _BESIDE.match(line) else _addresses(line)
        for address in addresses:
            last = found.get(address)
            if last is None and len(found) < PEOPLE:
                last = found[address] = Said(outcome, address)
        if last is not None and len(last.reasons) < REASON_LINES:
            last.reasons.append(line)
    return list(found.values()) or [Said(outcome, None, lines[:REASON_LINES])]


def _own_lines(text: str) -> list[str]:
    """The lines before the returned mail, blank ones left out. The first ones may look like anything."""
    kept: list[str] = []
    for number, whole in enumerate(text.split("\n", LINES)[:LINES]):
        line = whole[:LINE_CHARS].strip()
        if number and kept and _COPY.match(line):
            break
        if line:
            kept.append(line)
    return kept


def _first_outcome(lines: list[str]) -> Word | None:
    # Sentences run over the ends of lines.
    pairs = (f"{line} {after}" for line, after in zip(lines, [*lines[1:], ""], strict=False))
    return next((outcome for outcome in map(_outcome_of, pairs) if outcome is not None), None)


def _outcome_of(line: str) -> Word | None:
    """What a line says has happened. A final word wins over "temporarily": that is why a server gave up."""
    if _DELIVERED.search(line):
        return "delivered"
    if _FAILED.search(line) and not re.search(r"will (be retried|keep trying|retry|try again)", line, re.IGNORECASE):
        return "failed"
    return "delayed" if _DELAYED.search(line) else None


def _addresses(line: str) -> list[str]:
    return [address for each in _ADDRESS.findall(line)[:5] if (address := canonical(each.strip("`*|"))) is not None]
