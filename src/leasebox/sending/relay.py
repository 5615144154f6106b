"""Where mail goes: the route to a destination, and the one that all take where the operator names a relay."""

from enum import Enum
from typing import Protocol
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec

from leasebox.sending.transport_reply import Reply, reply
from leasebox.values.secret import Secret

SUBMISSION_PORT = 587
SUBMISSIONS_PORT = 465


class Tls(Enum):
    """How much a conversation is hidden. MAY: in clear where it must be; MUST: with whomever; VERIFIED: certificate."""

    OFF = "off"
    MAY = "opportunistic"
    MUST = "require"
    VERIFIED = "verify"


class Host(msgspec.Struct, frozen=True):
    """A server to speak to. name: of its certificate; address: what is dialled, an IP address or a host name.

    implicit: TLS from the first octet (RFC 8314), not by STARTTLS.
    """

    name: str
    address: str
    port: int
    tls: Tls
    implicit: bool = False

    def __str__(self) -> str:
        return f"{self.name}:{self.port}" if self.name == self.address else f"{self.name} [{self.address}]:{self.port}"


class Login(msgspec.Struct, frozen=True):
    """How we make ourselves known to a relay."""

    user: str
    password: Secret


class Route(msgspec.Struct, frozen=True):
    """The servers that take mail for a destination, in the order to be tried. key: same key, same servers."""

    key: str
    hosts: tuple[Host, ...]
    login: Login | None = None


class NoRoute(Exception):
    """Nobody to hand a mail to: for good (5yz) or for the time being, as `reply` says in a server's words."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.reply: Reply = reply("route", code, text)


class Router(Protocol):
    """Finds routes. Raises NoRoute."""

    async def route(self, destination: str) -> Route: ...


class ByRelay:
    """All mail by one relay."""

    def __init__(self, relay: Route) -> None:
        self._relay = relay

    async def route(self, destination: str) -> Route:
        del destination
        return self._relay


class Nowhere:
    """No relay, and nobody to ask for MX: mail to the outside waits, saying why."""

    async def route(self, destination: str) -> Route:
        raise NoRoute(450, f"4.4.4 No way to {destination}: LEASEBOX_DNS is off and LEASEBOX_RELAY is not set")


def relay_route(url: Secret) -> Route:
    """`smtp://user:password@host:port?tls=…` (587) or `smtps://…` (465) as the one route.

    tls: `verify` (the default with a user or smtps): TLS with a certificate that is good for the host; `require`: TLS
    with any; `opportunistic` (the default without a user): where it is offered, no password without it; `off`: never,
    the password in clear. `off` and `opportunistic` make no sense with smtps. Raises ValueError, never quoting it.
    """
    parts = urlsplit(url.reveal())
    implicit = parts.scheme == "smtps"
    if parts.scheme not in ("smtp", "smtps") or not parts.hostname or parts.port == 0:
        raise ValueError("expected smtp://user:password@host:port")
    login = None
    if parts.username:
        login = Login(unquote(parts.username), Secret(unquote(parts.password or "")))
    tls = _tls(parts.query, "verify" if implicit or login else "opportunistic")
    if implicit and tls in (Tls.OFF, Tls.MAY):
        raise ValueError("smtps:// means TLS; tls= can be verify or require")
    port = parts.port or (SUBMISSIONS_PORT if implicit else SUBMISSION_PORT)
    return Route("relay", (Host(parts.hostname, parts.hostname, port, tls, implicit=implicit),), login)


def _tls(query: str, default: str) -> Tls:
    asked = parse_qs(query, keep_blank_values=True)
    words = asked.pop("tls", [default])
    known = {tls.value for tls in Tls}
    if asked or len(words) != 1 or words[0] not in known:
        raise ValueError(f"expected after ? only tls= with one of {', '.join(sorted(known))}")
    return Tls(words[0])
