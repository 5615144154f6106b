"""DMARC: does what was authenticated belong to the domain that the reader sees (RFC 9989, which replaced RFC 7489).

Organizational domains are found by the DNS tree walk of RFC 9989 §4.10, so no public suffix list ages with us.
"""

from typing import Final, NamedTuple

from leasebox.infra.lookups import LookupFailed, Resolver

_WALK_NAMES: Final = 8


class Authenticated(NamedTuple):
    """What passed before: domains of passing DKIM signatures, and of a passing SPF check ("" where it did not pass)."""

    dkim_domains: tuple[str, ...]
    spf_domain: str


class _Record(NamedTuple):
    domain: str
    tags: dict[str, str]


def judge(author_domain: str, passed: Authenticated, resolver: Resolver) -> str:
    """`pass`, `fail`, `none` (no policy published) or `temperror` for the domain of the From field (lower case)."""
    try:
        return _judge(author_domain.rstrip("."), passed, resolver)
    except LookupFailed:
        return "temperror"


def _judge(author: str, passed: Authenticated, resolver: Resolver) -> str:
    records = _walk(author, resolver)
    home = _organizational(author, records)
    policy = next((one for one in records if one.domain == author), None) or next(
        (one for one in records if one.domain == home), records[-1] if records else None
    )
    if policy is None:
        return "none"
    for domain in passed.dkim_domains:
        if _aligned(author, domain, policy.tags.get("adkim", "r"), home, resolver):
            return "pass"
    if passed.spf_domain and _aligned(author, passed.spf_domain, policy.tags.get("aspf", "r"), home, resolver):
        return "pass"
    return "fail"


def _aligned(author: str, domain: str, mode: str, home: str, resolver: Resolver) -> bool:
    """RFC 9989 §4.4: strict is equality, relaxed is one organizational domain."""
    if domain == author:
        return True
    shares_home = domain == home or domain.endswith(f".{home}")
    if mode == "s" or not shares_home:
        return False
    return _organizational(domain, _walk(domain, resolver)) == home


def _walk(domain: str, resolver: Resolver) -> list[_Record]:
    """Policy records from `domain` upwards; the walk ends early where a record settles the question (psd=y or n)."""
    labels = domain.split(".")
    if len(labels) > _WALK_NAMES:
        names = [labels, *(labels[-count:] for count in range(_WALK_NAMES - 1, 0, -1))]
    else:
        names = [labels[start:] for start in range(len(labels))]
    found: list[_Record] = []
    for name in names:
        record = _record(".".join(name), resolver)
        if record is not None:
            found.append(record)
            if record.tags.get("psd") == "n" or (record.tags.get("psd") == "y" and name != labels):
                break
    return found


def _organizational(domain: str, records: list[_Record]) -> str:
    """RFC 9989 §4.10.2; a top-level domain that publishes a policy without `psd` joins nobody."""
    candidates = [one for one in records if "." in one.domain or one.tags.get("psd") == "y"]
    if not candidates:
        return domain
    last = candidates[-1]
    if last.tags.get("psd") == "y" and last.domain != domain:
        below = domain.removesuffix(f".{last.domain}").rpartition(".")[2]
        return f"{below}.{last.domain}"
    return last.domain


def _record(domain: str, resolver: Resolver) -> _Record | None:
    """The one policy record of a name; several are none (§4.7)."""
    found = [tags for tags in map(_tags, resolver.txt(f"_dmarc.{domain}")) if tags]
    return _Record(domain, found[0]) if len(found) == 1 else None


def _tags(record: bytes) -> dict[str, str]:
    """Tags in lower case, {} for a text that is no DMARC record (it must begin with the version, §4.7)."""
    pieces = [piece.partition("=") for piece in record[:4096].decode("ascii", "replace").split(";")]
    pairs = [(name.strip().lower(), value.strip().lower()) for name, equals, value in pieces if equals]
    return dict(pairs) if pairs and pairs[0] == ("v", "dmarc1") else {}
