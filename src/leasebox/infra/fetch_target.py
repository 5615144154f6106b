"""Reading a URL that somebody else wants us to call: strict, so that nobody after us can read it differently."""

import ipaddress
import re
from enum import StrEnum
from typing import Literal
from urllib.parse import quote

import idna
import msgspec

from leasebox.infra.fetch_guard import Address, plain

MOST_CHARACTERS = 2048
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<rest>.*)", re.DOTALL)
_AUTHORITY = re.compile(r"(?P<host>\[[^\]]*\]|[^:\[\]]*)(?::(?P<port>[0-9]{0,5}))?")
_UNFIT = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff\ufeff]")
_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\Z")
# Parsers of addresses take a name for a number if its last label is one (WHATWG URL §3.5, inet_aton).
_NUMBER = re.compile(r"(?:[0-9]+|0x[0-9a-f]*)\Z")
Scheme = Literal["http", "https"]
_SCHEMES: dict[str, Scheme] = {"http": "http", "https": "https"}
_DEFAULT_PORTS: dict[Scheme, int] = {"http": 80, "https": 443}
# Ports at which something listens that is not HTTP, and may take our request for its own protocol (Fetch §2.9).
_OTHER_PROTOCOLS = frozenset(
    int(port)
    for port in (
        "1 7 9 11 13 15 17 19 20 21 22 23 25 37 42 43 53 69 77 79 87 95 101 102 103 104 109 110 111 113 115 117 119 "
        "123 135 137 139 143 161 179 389 427 465 512 513 514 515 526 530 531 532 540 548 554 556 563 587 601 636 989 "
        "990 993 995 1719 1720 1723 2049 2525 3306 3659 4045 4190 5060 5061 5432 6000 6379 6566 6665 6666 6667 6668 "
        "6669 6679 6697 9200 10080 11211 27017"
    ).split()
)


class UrlFault(StrEnum):
    """Why a URL is not called."""

    TOO_LONG = "too_long"
    CHARACTERS = "characters"
    NOT_ABSOLUTE = "not_absolute"
    SCHEME = "scheme"
    USERINFO = "userinfo"
    FRAGMENT = "fragment"
    HOST = "host"
    NUMERIC_HOST = "numeric_host"
    PORT = "port"


class Target(msgspec.Struct, frozen=True):
    """A URL taken apart. host: a name in A-labels, or an address as text; path: with its query, ASCII."""

    scheme: Scheme
    host: str
    port: int
    path: str

    @property
    def address(self) -> Address | None:
        """The host, where it is an address."""
        try:
            return plain(ipaddress.ip_address(self.host))
        except ValueError:
            return None

    @property
    def authority(self) -> str:
        """Host and, unless it is the scheme's own, port: the Host field (RFC 9110 §7.2)."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Without path and query, which may hold a secret."""
        return f"{self.scheme}://{self.authority}"

    def __str__(self) -> str:
        return self.origin + self.path


def read(text: str) -> Target | UrlFault:
    """Take an absolute http or https URL apart. Pure, total.

    Refused are userinfo, fragments, blanks and control characters, backslashes, every spelling of an IPv4 address but
    the dotted one, zones, trailing dots, names that IDNA 2008 (UTS 46) does not know, and ports of other protocols.
    """
    if len(text) > MOST_CHARACTERS:
        return UrlFault.TOO_LONG
    if _UNFIT.search(text):
        return UrlFault.CHARACTERS
    match = _URL.fullmatch(text)
    if match is None:
        return UrlFault.NOT_ABSOLUTE
    scheme, authority, rest = _SCHEMES.get(match["scheme"].lower()), match["authority"], match["rest"]
    if scheme is None:
        return UrlFault.SCHEME
    if "@" in authority:
        return UrlFault.USERINFO
    if "#" in rest:
        return UrlFault.FRAGMENT
    parts = _AUTHORITY.fullmatch(authority)
    if parts is None:
        return UrlFault.HOST
    port = int(parts["port"] or _DEFAULT_PORTS[scheme])
    if not 1 <= port <= 65535 or port in _OTHER_PROTOCOLS:
        return UrlFault.PORT
    host = _host(parts["host"])
    if isinstance(host, UrlFault):
        return host
    target = Target(scheme, host, port, _path(rest))
    return target if len(str(target)) <= MOST_CHARACTERS else UrlFault.TOO_LONG


def _host(text: str) -> str | UrlFault:
    if text.startswith("["):
        return _v6(text[1:-1])
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        return _name(text)


def _v6(text: str) -> str | UrlFault:
    try:
        found = plain(ipaddress.IPv6Address(text))
    except ValueError:
        return UrlFault.HOST
    return UrlFault.HOST if "%" in text else str(found)


def _name(text: str) -> str | UrlFault:
    try:
        name = (text if text.isascii() else idna.encode(text, uts46=True).decode("ascii")).lower()
    except (idna.IDNAError, UnicodeError):
        return UrlFault.HOST
    labels = name.split(".")
    if _NUMBER.match(labels[-1]):
        return UrlFault.NUMERIC_HOST
    # Full-width dots and digits have become plain ones by now.
    return name if len(name) <= 253 and all(_LABEL.match(label) for label in labels) else UrlFault.HOST


def _path(rest: str) -> str:
    path = quote(rest, safe="!$%&'()*+,/:;=?@[]~-._")
    return path if path.startswith("/") else f"/{path}"
