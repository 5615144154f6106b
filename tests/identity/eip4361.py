"""The SIWE vectors that others wrote; they stay where they are."""

import json
from pathlib import Path
from typing import Any

_VECTORS = Path(__file__).parents[2].parent / "shared" / "vectors" / "siwe"
# EIP-4361's fields after the statement, in their order, by their names in the vectors.
_FIELDS = {
    "uri": "URI",
    "version": "Version",
    "chainId": "Chain ID",
    "nonce": "Nonce",
    "issuedAt": "Issued At",
    "expirationTime": "Expiration Time",
    "notBefore": "Not Before",
    "requestId": "Request ID",
}


def vectors(name: str) -> dict[str, Any]:
    """The cases of a file by their names; none where the vectors are absent."""
    path = _VECTORS / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else {}


def wrong_messages() -> dict[str, str]:
    """What must not parse: the texts, and the objects written out as texts."""
    objects = {f"object, {name}": _written(fields) for name, fields in vectors("parsing_negative_objects").items()}
    return {**vectors("parsing_negative"), **objects}


def _written(fields: dict[str, Any]) -> str:
    lines = [f"{fields.get('domain', '')} wants you to sign in with your Ethereum account:", fields.get("address", "")]
    lines += ["", *([fields["statement"]] if "statement" in fields else []), ""]
    lines += [f"{word}: {fields[name]}" for name, word in _FIELDS.items() if name in fields]
    if "resources" in fields:
        lines += ["Resources:", *(f"- {each}" for each in fields["resources"])]
    return "\n".join(lines)
