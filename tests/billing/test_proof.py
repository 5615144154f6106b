"""Payment proofs against the vectors, against mutation, against any text at all."""

import json
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from leasebox.billing.prices import Meter
from leasebox.billing.proof import (
    LIFETIME,
    MAX_CHARACTERS,
    Claims,
    ProofFault,
    ProofId,
    UnsignableClaims,
    bound_to,
    sign,
    verify,
)
from leasebox.values.ids import TenantId
from leasebox.values.keys import DerivedKey, KeyRing
from leasebox.values.money import Usdc
from leasebox.values.paths import MAX_PATH_BYTES, Route
from tests.vectors import make_proofs

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CURRENT, PREVIOUS = (DerivedKey(*make_proofs.KEYS[role]) for role in ("current", "previous"))
KEYS = KeyRing(CURRENT, PREVIOUS)
VECTORS = json.loads(make_proofs.FILE.read_text())["cases"]
NOW = EPOCH + timedelta(microseconds=make_proofs.NOW)
TENANT = TenantId(hex=make_proofs.TENANT)


def _claims(said: dict[str, Any]) -> Claims:
    return Claims(
        proof_id=ProofId(hex=said["proof_id"]),
        tenant=TenantId(hex=said["tenant"]),
        method=said["method"],
        path=said["path"],
        meter=Meter(said["meter"]),
        amount=Usdc(said["amount_micros"]),
        price_version=said["price_version"],
        issued_at=EPOCH + timedelta(microseconds=said["issued"]),
        expires_at=EPOCH + timedelta(microseconds=said["expires"]),
    )


CLAIMS = _claims(make_proofs.CLAIMS)
TEXT = sign(CLAIMS, CURRENT).reveal()


def _names(case: dict[str, Any]) -> str:
    return str(case["name"])


def test_the_vectors_are_what_the_generator_makes() -> None:
    assert json.loads(make_proofs.FILE.read_text()) == json.loads(json.dumps(make_proofs.document()))
    assert len(VECTORS) >= 60
    assert len({case["name"] for case in VECTORS}) == len(VECTORS)


@pytest.mark.parametrize("case", VECTORS, ids=_names)
def test_a_vector_is_judged_as_it_says(case: dict[str, Any]) -> None:
    found = verify(case["text"], KEYS, EPOCH + timedelta(microseconds=case["now"]))
    assert found == (ProofFault(case["fault"]) if "fault" in case else _claims(case["claims"]))


@pytest.mark.parametrize("case", [case for case in VECTORS if "claims" in case], ids=_names)
def test_a_good_vector_is_signed_to_the_letter(case: dict[str, Any]) -> None:
    key = CURRENT if f".{CURRENT.kid}." in case["text"] else PREVIOUS
    assert sign(_claims(case["claims"]), key).reveal() == case["text"]


@pytest.mark.parametrize("case", [case for case in VECTORS if "call" in case], ids=_names)
def test_a_sound_proof_is_bound_to_its_call(case: dict[str, Any]) -> None:
    claims, call, fault = _claims(case["claims"]), case["call"], case["call_fault"]
    found = bound_to(claims, TenantId(hex=call["tenant"]), call["method"], call["path"])
    assert found is (None if fault is None else ProofFault(fault))


def test_every_fault_has_a_vector() -> None:
    shown = {case.get("fault") for case in VECTORS} | {case.get("call_fault") for case in VECTORS}
    assert shown - {None} == {fault.value for fault in ProofFault}


def test_a_retired_key_stops_at_once() -> None:
    text = sign(CLAIMS, PREVIOUS).reveal()
    assert verify(text, KEYS, NOW) == CLAIMS
    assert verify(text, KeyRing(CURRENT), NOW) is ProofFault.UNKNOWN_KEY


def test_a_proof_shows_itself_only_when_asked() -> None:
    secret = sign(CLAIMS, CURRENT)
    assert TEXT not in f"{secret} {secret!r}"
    with pytest.raises(TypeError):
        pickle.dumps(secret)


def test_fresh_claims_are_good_for_two_minutes_and_unlike_each_other() -> None:
    route = Route("POST", "/v2/webhooks")
    terms = {"meter": Meter.WEBHOOK_CREATE, "amount": Usdc(1_000), "price_version": 3, "now": NOW}
    made = [Claims.issue(TENANT, route, **terms) for _ in range(100)]  # type: ignore[arg-type]
    assert len({claims.proof_id for claims in made}) == 100
    assert {claims.expires_at - claims.issued_at for claims in made} == {LIFETIME}
    assert verify(sign(made[0], CURRENT).reveal(), KEYS, NOW) == made[0]


def test_the_longest_route_still_fits() -> None:
    path = "/" + "a" * (MAX_PATH_BYTES - 1)
    route = Route("OPTIONS", path)
    claims = Claims.issue(TENANT, route, meter=Meter.WEBHOOK_CREATE, amount=Usdc(1), price_version=1, now=NOW)
    text = sign(claims, CURRENT).reveal()
    assert len(text) <= MAX_CHARACTERS
    assert verify(text, KEYS, NOW) == claims


@pytest.mark.parametrize(
    "changes",
    [
        {"amount_micros": -1},
        {"price_version": 0},
        {"price_version": 2**31},
        {"method": "get"},
        {"method": "HEAD"},
        {"path": "/v2/messages/"},
        {"path": "/v2/messages?x"},
        {"path": "/v2/é"},
        {"path": ""},
        {"issued": -1},
        {"expires": make_proofs.NOW},
        {"expires": make_proofs.NOW + 120 * make_proofs.SECOND + 1},
    ],
    ids=str,
)
def test_what_would_not_verify_is_not_signed(changes: dict[str, Any]) -> None:
    with pytest.raises(UnsignableClaims):
        sign(_claims(make_proofs.CLAIMS | changes), CURRENT)


@given(st.integers(0, len(TEXT) - 1), st.characters())
@settings(max_examples=600)
def test_no_changed_character_passes(at: int, character: str) -> None:
    assume(TEXT[at] != character)
    changed = TEXT[:at] + character + TEXT[at + 1 :]
    assert verify(changed, KEYS, NOW) in {ProofFault.MALFORMED, ProofFault.UNKNOWN_KEY, ProofFault.BAD_MAC}


def test_no_base64_letter_stands_for_another() -> None:
    """Every single-letter change, all of them: none is a second spelling of the same proof."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    texts = (TEXT[:at] + letter + TEXT[at + 1 :] for at in range(len(TEXT)) for letter in letters)
    assert {text for text in texts if isinstance(verify(text, KEYS, NOW), Claims)} == {TEXT}


@given(st.integers(0, len(TEXT)), st.integers(0, len(TEXT)), st.text(max_size=8))
def test_no_cut_or_insertion_passes(start: int, end: int, inserted: str) -> None:
    changed = TEXT[: min(start, end)] + inserted + TEXT[max(start, end) :]
    assume(changed != TEXT)
    assert isinstance(verify(changed, KEYS, NOW), ProofFault)


@given(
    st.one_of(
        st.text(),
        st.from_regex(r"v1\.c0ffee01\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]{43}", fullmatch=True),
        st.binary().map(make_proofs._sealed),
    )
)
@settings(max_examples=500)
def test_any_text_gets_an_answer(text: str) -> None:
    """Also any payload that our own key has sealed."""
    assert isinstance(verify(text, KEYS, NOW), ProofFault)


@given(
    tenant=st.uuids().map(TenantId.of),
    path=st.sampled_from(["/v2/messages", "/v2/webhooks", "/"]),
    meter=st.sampled_from(Meter),
    micros=st.integers(0, 2**63 - 1),
    version=st.integers(1, 2**31 - 1),
    now=st.integers(0, 8_000 * 31_557_600).map(lambda seconds: EPOCH + timedelta(seconds=seconds, microseconds=1)),
)
def test_what_is_signed_verifies(
    *, tenant: TenantId, path: str, meter: Meter, micros: int, version: int, now: datetime
) -> None:
    route = Route("POST", path)
    made = Claims.issue(tenant, route, meter=meter, amount=Usdc(micros), price_version=version, now=now)
    assert verify(sign(made, CURRENT).reveal(), KEYS, now) == made
    assert bound_to(made, tenant, "POST", path) is None
