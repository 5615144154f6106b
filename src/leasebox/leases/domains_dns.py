"""What the DNS says of a domain's records: found, missing, wrong, or unknown where it does not answer."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from leasebox.infra.lookups import LookupFailed, Resolver
from leasebox.leases.domains_errors import DnsOff
from leasebox.leases.domains_model import UNKNOWN, DnsRecord, Finding

_THREADS = 12
_SEEN = 5
_SEEN_CHARACTERS = 500


class DnsLook:
    """Asks the DNS for records, all at once, in threads of its own.

    resolvers: gives a fresh resolver for each look, so that no answer of before hides what was just published, and a
    domain whose servers are silent silences no other's; None where the operator has turned DNS off.
    """

    def __init__(self, resolvers: Callable[[], Resolver] | None) -> None:
        self._resolvers = resolvers
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="domains")

    async def look(self, records: Sequence[DnsRecord]) -> dict[str, Finding]:
        """What is found of each, by its key. Takes as long as the resolver's patience. Raises DnsOff (409)."""
        if self._resolvers is None:
            raise DnsOff("This instance asks no DNS.")
        resolver, loop = self._resolvers(), asyncio.get_running_loop()
        asked = [loop.run_in_executor(self._pool, judge, each, resolver) for each in records]
        return dict(zip((each.key for each in records), await asyncio.gather(*asked), strict=True))

    def close(self) -> None:
        """Let the threads end; looks under way are not waited for."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def judge(record: DnsRecord, resolver: Resolver) -> Finding:
    """Look one record up and compare it with what it should be."""
    try:
        if record.type == "MX":
            return _judge_mx(record, resolver)
        texts = [text.decode("ascii", "backslashreplace") for text in resolver.txt(record.name)]
    except LookupFailed:
        return UNKNOWN
    match record.purpose:
        case "spf":
            return _judge_spf(record, texts)
        case "dkim":
            return _judge_dkim(record, texts)
        case "dmarc":
            return _judge_dmarc(texts)
        case _:
            return _judge_ownership(record, texts)


def _judge_mx(record: DnsRecord, resolver: Resolver) -> Finding:
    """Found if senders come to us first: our host is the only one of the best preference."""
    hosts = sorted((preference, host.lower().rstrip(".")) for preference, host in resolver.mx(record.name))
    best = {host for preference, host in hosts if preference == hosts[0][0]}
    seen = [f"{preference} {host or '.'}" for preference, host in hosts]
    return _found(seen) if best == {record.value} else _not_found(seen)


def _judge_ownership(record: DnsRecord, texts: Sequence[str]) -> Finding:
    return _found(texts) if record.value in (text.strip() for text in texts) else _not_found(texts)


def _judge_spf(record: DnsRecord, texts: Sequence[str]) -> Finding:
    """Found if its one record (RFC 7208 §4.5) has every term of ours, whatever else it allows and however it ends."""
    policies = [text for text in texts if text.lower().split(" ", 1)[0] == "v=spf1"]
    fits = len(policies) == 1 and _terms(record.value) <= _terms(policies[0])
    return _found(policies) if fits else _not_found(policies)


def _judge_dkim(record: DnsRecord, texts: Sequence[str]) -> Finding:
    """Found if it is the only record of its name (RFC 6376 §3.6.2.2) and has our key."""
    wanted = _tags(record.value)
    said = [{"v": "DKIM1", "k": "rsa", **_tags(text)} for text in texts]
    fits = len(said) == 1 and all(said[0].get(name) == wanted[name] for name in ("v", "k", "p"))
    return _found(texts) if fits else _not_found(texts)


def _judge_dmarc(texts: Sequence[str]) -> Finding:
    """Found if there is one policy (RFC 9989 §4.7), whichever: how strict it is, is its owner's choice."""
    policies = [text for text in texts if text.split(";", 1)[0].replace(" ", "") == "v=DMARC1"]
    return _found(policies) if len(policies) == 1 else _not_found(policies)


def _found(seen: Sequence[str]) -> Finding:
    return Finding("found", _shown(seen))


def _not_found(seen: Sequence[str]) -> Finding:
    return Finding("wrong" if seen else "missing", _shown(seen))


def _shown(seen: Sequence[str]) -> tuple[str, ...]:
    plain = ("".join(char if char.isprintable() else "?" for char in text) for text in seen[:_SEEN])
    return tuple(text[:_SEEN_CHARACTERS] for text in plain)


def _terms(policy: str) -> frozenset[str]:
    """The terms of an SPF policy without its version and its `all`; `+` is what no qualifier means."""
    terms = (term.lower().removeprefix("+") for term in policy.split()[1:])
    return frozenset(term for term in terms if term.lstrip("-~?") != "all")


def _tags(text: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in text.split(";"))
    return {name.strip(): "".join(value.split()) for name, _, value in pairs if name.strip()}
