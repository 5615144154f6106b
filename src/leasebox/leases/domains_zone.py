"""A domain's records as a zone file (RFC 1035 §5), to be imported where its DNS is kept."""

from collections.abc import Iterator, Sequence

from leasebox.leases.domains_model import DnsRecord

TTL_S = 3600
_STRING_OCTETS = 255  # RFC 1035 §3.3: what one character-string holds


def zone_file(name: str, records: Sequence[DnsRecord]) -> str:
    """The records to publish, those of retired keys left out. All names are absolute, all texts ASCII."""
    return "".join(f"{line}\n" for line in _lines(name, records))


def _lines(name: str, records: Sequence[DnsRecord]) -> Iterator[str]:
    yield f"; What {name} needs so that leasebox receives and sends its mail."
    for record in records:
        if record.until is not None:
            continue
        yield f"; {record.purpose}, {'required' if record.required else 'advised'}"
        if record.purpose == "spf":
            yield "; A name has one SPF record only: if there is one, add our terms to it instead."
        rest = f"{record.priority} {record.value}." if record.type == "MX" else quoted(record.value)
        yield f"{record.name}. {TTL_S} IN {record.type} {rest}"


def quoted(text: str) -> str:
    """A TXT record's strings of at most 255 octets, in quotes; a reader joins them without a blank (RFC 7208 §3.3)."""
    parts = [text[start : start + _STRING_OCTETS] for start in range(0, len(text), _STRING_OCTETS)] or [""]
    return " ".join('"' + part.replace("\\", "\\\\").replace('"', '\\"') + '"' for part in parts)
