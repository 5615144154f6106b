"""The text of one setting → its value. Readers take stripped, non-empty text; ValueError says what they expected."""

import ipaddress
import re
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec

from leasebox.admin.model import Role
from leasebox.sending.relay import relay_route
from leasebox.values.rate import Rate
from leasebox.values.secret import Secret

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
SECRET_CHARS = 32
_UNITS = {"s": 1, "min": 60, "h": 3600, "d": 86400}


class Address(msgspec.Struct, frozen=True):
    """Where to listen. port 0 means any free one."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class AdminWallet(msgspec.Struct, frozen=True):
    """Who may administer, as what. address: lower case."""

    address: str
    role: Role


class Resolver(msgspec.Struct, frozen=True):
    """Who answers our DNS questions. mode: `system`, `off` (nothing is asked) or `servers`."""

    mode: str
    servers: tuple[Address, ...] = ()


def reason(fault: Exception) -> str:
    """Why a file could not be read, in a few words."""
    return (fault.strerror or type(fault).__name__) if isinstance(fault, OSError) else "not UTF-8 text"


def directory(text: str) -> Path:
    path = Path(text)
    if not path.is_absolute():
        raise ValueError(f"expected an absolute path, got {text!r}")
    return path


def readable(text: str) -> Path:
    path = Path(text)
    try:
        path.open("rb").close()
    except OSError as fault:
        raise ValueError(f"cannot read {text!r}: {reason(fault)}") from None
    return path


def prices(text: str) -> Path:
    path = readable(text)
    try:
        tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as fault:
        raise ValueError(f"{text!r} is not TOML: {fault}") from None
    return path


def programs(text: str) -> Path:
    path = Path(text)
    for program in ("initdb", "postgres"):
        if not (path / program).is_file():
            raise ValueError(f"{text!r} holds no {program}")
    return path


def address(text: str) -> Address:
    match = re.fullmatch(r"(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9.-]+)):(\d{1,5})", text)
    if match is None or int(match[3]) > 65535:
        raise ValueError(f"expected host:port or [v6]:port, got {text!r}")
    if match[1]:
        with suppress(ValueError):
            return Address(str(ipaddress.IPv6Address(match[1])), int(match[3]))
        raise ValueError(f"{match[1]!r} is no IPv6 address")
    return Address(match[2].lower(), int(match[3]))


def public_url(text: str) -> str:
    url = _url(text, "http", "https")
    if url.path not in ("", "/") or url.query or url.fragment or url.username is not None:
        raise ValueError("expected only scheme, host and port, such as https://mail.example.com")
    return f"{url.scheme}://{url.netloc.lower()}"


def _url(text: str, *schemes: str) -> Any:
    with suppress(ValueError):
        url = urlsplit(text)
        if url.scheme in schemes and (url.hostname or url.scheme == "unix") and url.port != 0:
            return url
    # The text may hold a password, so it is not quoted.
    raise ValueError(f"expected a URL that begins with {' or '.join(f'{scheme}://' for scheme in schemes)}")


def rpc_url(text: str) -> Secret:
    _url(text, "http", "https", "ws", "wss")
    return Secret(text)


def relay(text: str) -> Secret:
    if _url(text, "smtp", "smtps").path not in ("", "/"):
        raise ValueError("expected smtp://user:password@host:port")
    relay_route(Secret(text))
    return Secret(text)


def database_url(text: str) -> Secret:
    # postgres:// and SQLAlchemy's postgresql+asyncpg:// mean the same; the host may stand in ?host=/socket/directory.
    scheme, mark, rest = text.partition("://")
    if not mark or scheme not in ("postgresql", "postgres", "postgresql+asyncpg") or not rest:
        raise ValueError("expected postgresql://user:password@host:port/database")
    with suppress(ValueError):
        url = urlsplit(f"postgresql://{rest}")
        if (url.hostname or "host=" in url.query) and url.port != 0:
            return Secret(f"postgresql://{rest}")
    raise ValueError("expected postgresql://user:password@host:port/database")


def redis_url(text: str) -> Secret:
    _url(text, "redis", "rediss", "unix")
    return Secret(text)


def master_key(text: str) -> Secret:
    if len(text) < SECRET_CHARS:
        raise ValueError(f"expected at least {SECRET_CHARS} characters, got {len(text)}")
    return Secret(text)


def domains(text: str) -> tuple[str, ...]:
    names = tuple(name.removesuffix(".").lower() for name in _list(text))
    if not names:
        raise ValueError("expected at least one domain name")
    label = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
    for name in names:
        if len(name) > 253 or not re.fullmatch(rf"{label}(\.{label})*", name):
            raise ValueError(f"{name!r} is no domain name (write an international one in its xn-- form)")
    return tuple(dict.fromkeys(names))


def host_name(text: str) -> str:
    name = text.removesuffix(".").lower()
    label = r"(?!-)[a-z0-9-]{1,63}(?<!-)"
    if len(name) > 253 or not re.fullmatch(rf"{label}(\.{label})+", name) or name.rpartition(".")[2].isdigit():
        raise ValueError(f"expected a host name such as mx.example.com, got {text!r}")
    return name


def spf(text: str) -> str:
    if not re.fullmatch(r"v=spf1(?: [\x21\x23-\x5b\x5d-\x7e]+)+", text) or len(text) > 255:
        raise ValueError("expected an SPF record such as `v=spf1 include:spf.example.com ~all`, at most 255 characters")
    return text


def admin_wallets(text: str) -> tuple[AdminWallet, ...]:
    found: dict[str, Role] = {}
    for part in _list(text):
        wallet, _, name = part.partition(":")
        if not re.fullmatch(r"0x[0-9a-fA-F]{40}", wallet):
            raise ValueError(f"{wallet!r} is no wallet address (0x and 40 hexadecimal digits)")
        if ":" in part and name not in set(Role):
            raise ValueError(f"{name!r} is no role; there are {', '.join(Role)}")
        role = Role(name or Role.OWNER)
        if found.setdefault(wallet.lower(), role) is not role:
            raise ValueError(f"{wallet} has two roles")
    return tuple(AdminWallet(wallet, role) for wallet, role in found.items())


def networks(text: str) -> tuple[Network, ...]:
    networks = []
    for part in _list(text):
        try:
            networks.append(ipaddress.ip_network(part))
        except ValueError:
            raise ValueError(f"{part!r} is no network such as 10.0.0.0/8 or 192.0.2.7") from None
    return tuple(networks)


def resolver(text: str) -> Resolver:
    if text in ("system", "off"):
        return Resolver(text)
    return Resolver("servers", tuple(_server(part) for part in _list(text)))


def _server(text: str) -> Address:
    with suppress(ValueError):
        return Address(str(ipaddress.ip_address(text)), 53)
    with suppress(ValueError):
        server = address(text)
        return Address(str(ipaddress.ip_address(server.host)), server.port)
    raise ValueError(f"expected `system`, `off` or addresses of resolvers, got {text!r}")


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def rate(text: str) -> Rate:
    match = re.fullmatch(r"([1-9]\d{0,8})/(s|min|h|d)", text)
    if match is None:
        if text == "0":
            return Rate(0, 1)
        raise ValueError(f"expected a rate such as 60/min, 20/h or 120/s, or 0 for none, got {text!r}")
    return Rate(int(match[1]), _UNITS[match[2]])


def whole(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,12}", text) or not low <= int(text) <= high:
            raise ValueError(f"expected a whole number from {low} to {high}, got {text!r}")
        return int(text)

    return read


def word(*words: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(f"expected one of {', '.join(words)}, got {text!r}")
        return text.lower()

    return read
