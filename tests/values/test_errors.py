"""Every refusal in the program says what happened and what to do next, whatever raises it."""

import importlib
import pkgutil
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any

import pytest

import leasebox
from leasebox.values import errors
from leasebox.values.errors import Kind, LeaseboxError, MissingScope, Unavailable


def everything(kind: type[LeaseboxError] = LeaseboxError) -> Iterator[type[LeaseboxError]]:
    for each in kind.__subclasses__():
        yield each
        yield from everything(each)


for module in pkgutil.walk_packages(leasebox.__path__, "leasebox."):
    if module.name.endswith((".errors", ".body", ".idempotency", ".meta_http", ".db")):
        importlib.import_module(module.name)
TREE = sorted(set(everything()), key=lambda kind: (kind.__module__, kind.__name__))
# Contract §1: what each status may be called.
CODES = {
    400: {"bad_request"},
    401: {"unauthorized"},
    402: {"payment_required", "invalid_payment_proof"},
    403: {"forbidden", "tenant_inactive", "mailbox_paused", "mailbox_frozen", "missing_scope"},
    404: {"not_found"},
    409: {"conflict", "address_taken", "idempotency_mismatch"},
    410: {"lease_ended", "gone"},
    413: {"too_large"},
    415: {"unsupported_media_type"},
    422: {"unprocessable"},
    429: {"rate_limited", "cooldown_limit"},
    503: {"unavailable"},
}


@pytest.mark.parametrize("kind", TREE, ids=lambda kind: kind.__name__)
def test_an_error_has_a_code_of_the_contract_and_a_fix(kind: type[LeaseboxError]) -> None:
    assert kind.code in CODES[kind.kind.value], f"{kind.code} is no code of {kind.kind.value}"
    assert kind.fix[0].isupper() or kind.fix.startswith("GET")
    assert kind.fix.endswith(".")


def test_the_tree_is_all_there() -> None:
    assert len(TREE) >= 25
    assert {kind.kind.value for kind in TREE} >= {400, 401, 403, 404, 409, 410, 413, 415, 422, 429, 503}


@pytest.mark.parametrize("kind", list(Kind))
def test_a_kinds_value_is_an_http_status(kind: Kind) -> None:
    assert HTTPStatus(kind.value).value >= 400


def test_a_refusal_carries_its_case() -> None:
    refusal = Unavailable("Gone fishing.", retry_after_s=3, fix="Wait.", pond="big")
    assert (str(refusal), refusal.message, refusal.fix) == ("Gone fishing.", "Gone fishing.", "Wait.")
    assert (refusal.retry_after_s, refusal.fields, Unavailable.fix) == (3, {"pond": "big"}, errors.Unavailable.fix)
    assert Unavailable.fix != "Wait."


def test_a_missing_scope_is_named() -> None:
    refusal: Any = MissingScope("mail:read")
    assert (refusal.kind, refusal.code, refusal.fields) == (Kind.FORBIDDEN, "missing_scope", {"scope": "mail:read"})
    assert "mail:read" in refusal.message
    assert "mail:read" in refusal.fix
