"""The one reading of a request's method and path, shared by router, signer and verifier of payment proofs.

It never repairs: a spelling is canonical, and then is the route byte for byte, or it is refused. So two spellings can
never be the same route, and a proof for one can never open another.

| in the request              | what becomes of it                                                                  |
|-----------------------------|-------------------------------------------------------------------------------------|
| method                      | exact upper case of METHODS; override headers are not looked at, none is taken      |
| HEAD                        | its own route, never GET; refused in the API, where it could run metered work unseen |
| `?query`                    | cut off at the first `?`, never part of a route, whatever it holds                  |
| `%6d`, `%2F`, `%`           | refused, always: no route of ours needs an escape                                   |
| `//`, `/x/`, `/./`, `/../`  | refused: empty, trailing and all-dot segments                                       |
| `/V2`, `/Messages`          | refused; upper case stands only in a checksummed wallet address (EIP-55)            |
| `;p=1`, `\\`, `#`, NUL, `é` | refused; segments are made of RFC 3986 unreserved characters only                   |
| `http://host/v2`, `*`, ``   | refused: a path begins with `/`                                                     |
| over 512 bytes              | refused                                                                             |
"""

import re
from dataclasses import dataclass
from enum import Enum

from leasebox.values.errors import Kind

METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})
MAX_PATH_BYTES = 512
API_ROOT = "/v2"

_WALLET = r"0x[0-9A-Fa-f]{40}(?=/|\Z)"
_WORD = r"(?!\.+(?:/|\Z))[a-z0-9._~-]+"
# Atomic, because a lower-case wallet is a word too and two ways per segment would double the work at each one.
_CANONICAL = re.compile(rf"/|(?:/(?>{_WALLET}|{_WORD}))+")
_SIGNS = (
    (re.compile(r"[\x00-\x20\x7f]"), "CONTROL"),
    (re.compile(r"%"), "PERCENT"),
    (re.compile(r"\\"), "BACKSLASH"),
    (re.compile(r";"), "PARAMETERS"),
    (re.compile(r"//"), "EMPTY_SEGMENT"),
    (re.compile(r"/\.+(?:/|\Z)"), "DOT_SEGMENT"),
    (re.compile(r"/\Z"), "TRAILING_SLASH"),
    (re.compile(r"[^A-Za-z0-9._~/-]"), "CHARACTER"),
    (re.compile(r"[A-Z]"), "UPPER_CASE"),
)


class RouteFault(Enum):
    """Why method and path name no route; the value is a stable word for programs."""

    METHOD = "method"
    HEAD = "head"
    NOT_ABSOLUTE = "not_absolute"
    TOO_LONG = "too_long"
    NON_ASCII = "non_ascii"
    CONTROL = "control_character"
    PERCENT = "percent_encoding"
    BACKSLASH = "backslash"
    PARAMETERS = "path_parameters"
    EMPTY_SEGMENT = "empty_segment"
    DOT_SEGMENT = "dot_segment"
    TRAILING_SLASH = "trailing_slash"
    CHARACTER = "character"
    UPPER_CASE = "upper_case"

    @property
    def routed_as(self) -> Kind:
        """How a router answers it: 405 where the method is at fault, else 404. A signer answers 400 to all."""
        return Kind.METHOD_NOT_ALLOWED if self in {RouteFault.METHOD, RouteFault.HEAD} else Kind.NOT_FOUND


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a canonical path without query. `normalize` makes them; literals stand in tables of routes."""

    method: str
    path: str


def normalize(method: str, raw_path: str | bytes) -> Route | RouteFault:
    """Read method and path as they stood on the wire (undecoded), with or without a query. Pure, total, never raises.

    Give it ASGI's `raw_path`, not `path`: the latter is already decoded, so `%6d` would be gone.
    """
    if method not in METHODS:
        return RouteFault.METHOD
    path = _without_query(raw_path)
    if isinstance(path, RouteFault):
        return path
    if _CANONICAL.fullmatch(path) is None:
        return _fault_of(path)
    if method == "HEAD" and (path == API_ROOT or path.startswith(API_ROOT + "/")):
        return RouteFault.HEAD
    return Route(method, path)


def _without_query(raw: str | bytes) -> str | RouteFault:
    path = raw.partition(b"?")[0].decode("latin-1") if isinstance(raw, bytes) else raw.partition("?")[0]
    if len(path) > MAX_PATH_BYTES:
        return RouteFault.TOO_LONG
    return path if path.isascii() else RouteFault.NON_ASCII


def _fault_of(path: str) -> RouteFault:
    if not path.startswith("/"):
        return RouteFault.NOT_ABSOLUTE
    return next((RouteFault[name] for sign, name in _SIGNS if sign.search(path)), RouteFault.CHARACTER)
