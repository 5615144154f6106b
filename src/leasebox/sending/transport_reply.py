"""What another server's replies mean for a mail (RFC 5321 §4.2, enhanced codes of RFC 3463). Pure."""

import re
from enum import StrEnum
from typing import Final

import msgspec

TEXT_CHARACTERS: Final = 512
REPLIES_KEPT: Final = 250
END: Final = "end of mail"
"""The command that a mail's last line counts as."""
_ENHANCED: Final = re.compile(r"([245])\.(\d{1,3})\.(\d{1,3})\b")
# RFC 5248 and the RFCs it gathers: what is wrong is the address itself, so no later mail to it will fare better.
_NO_SUCH_ADDRESS: Final = {"5.1.1", "5.1.2", "5.1.3", "5.1.6", "5.1.10", "5.2.1", "5.4.4"}
# RFC 4954 §6: the server wants a login, or another one. That is for the operator to mend, not the sender's fault.
_LOGIN_CODES: Final = {454, 504, 530, 534, 535, 538}


class Verdict(StrEnum):
    """What a reply makes of a recipient."""

    SENT = "sent"
    DEFERRED = "deferred"
    FAILED = "failed"


class Reply(msgspec.Struct, frozen=True):
    """What a server said to a command. code: three digits, or None where what happened was no reply (a timeout).

    text: printable, of at most TEXT_CHARACTERS, several lines joined by a blank. Written by a stranger.
    """

    command: str
    code: int | None
    text: str

    @property
    def verdict(self) -> Verdict:
        """2yz is sent, 5yz has failed, all else (4yz, nonsense, none) is worth another try."""
        match (self.code or 0) // 100:
            case 2:
                return Verdict.SENT
            case 5 if self.code not in _LOGIN_CODES:
                return Verdict.FAILED
            case _:
                return Verdict.DEFERRED

    @property
    def recipient_verdict(self) -> Verdict:
        """The same for RCPT, where 552 means that there are too many at once (RFC 5321 §4.5.3.1.10)."""
        return Verdict.DEFERRED if self.code == 552 else self.verdict

    @property
    def status(self) -> str:
        """The enhanced code, the server's own or the most general one of its class."""
        kind = (self.code or 400) // 100
        found = _ENHANCED.match(self.text)
        if found is not None and int(found[1]) == kind:
            return found[0]
        return f"{kind if kind in (2, 5) else 4}.0.0"

    @property
    def is_hard_bounce(self) -> bool:
        """Whether a refused recipient does not exist; false for what merely displeased the server (5.7.x)."""
        if self.recipient_verdict is not Verdict.FAILED:
            return False
        if _ENHANCED.match(self.text):
            return self.status in _NO_SUCH_ADDRESS
        return self.code in {550, 551, 553} and not _POLICY.search(self.text)

    def __str__(self) -> str:
        return self.text if self.code is None else f"{self.code} {self.text}".rstrip()


# Without an enhanced code 550 says both "no such user" and "we do not like you".
_POLICY = re.compile(
    r"spam|block|blacklist|block.?list|reject(?:ed)? (?:by|due|for)|polic|spf|dkim|dmarc|reputation|rbl|denied|relay|"
    r"authenti|virus|content|rate|banned|not allowed|unsolicited",
    re.IGNORECASE,
)


def reply(command: str, code: int | None, text: str) -> Reply:
    """A reply as it is recorded: bounded and printable, whatever the server sent."""
    flat = " ".join(text.encode(errors="replace").decode().split())
    shown = "".join(letter if letter.isprintable() else "?" for letter in flat[: TEXT_CHARACTERS * 2])
    sound = code if code is not None and 200 <= code <= 599 else None
    return Reply(command, sound, shown[:TEXT_CHARACTERS])
