"""Signed heads: other people's format, to the byte; nothing forged, bent or foreign is read."""

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from leasebox.audit import merkle
from leasebox.audit.heads import (
    MAX_NOTE_CHARACTERS,
    BadHead,
    Head,
    HeadFault,
    Signer,
    Verifier,
    digest,
    encode,
    extends,
    read,
    unchecked,
)
from leasebox.values.keys import DerivedKey, Purpose, derive
from leasebox.values.secret import Secret

NAME = "inbox.leasebox.test/audit"
SEALED = datetime(2026, 11, 20, 10, 2, 24, 123456, tzinfo=UTC)
LEAVES = [merkle.leaf_hash(bytes([number])) for number in range(8)]
HEAD = Head(NAME, 5, merkle.root_of(LEAVES[:5]), SEALED)
SIGNER = Signer(NAME, derive(Secret("m" * 32), Purpose.AUDIT_HEAD))
STRANGER = Signer(NAME, derive(Secret("s" * 32), Purpose.AUDIT_HEAD))
OTHER_LOG = Signer("elsewhere.test/audit", derive(Secret("o" * 32), Purpose.AUDIT_HEAD))
TRUSTED = [SIGNER.verifier]
NOTE = SIGNER.sign(HEAD)
TEXT, _, SIGNATURE = NOTE.partition("\n\n")


def test_a_head_is_a_c2sp_checkpoint() -> None:
    root = base64.b64encode(HEAD.root).decode()
    assert encode(HEAD) == f"{NAME}\n5\n{root}\nsealed_at 2026-11-20T10:02:24.123456Z\n"
    assert NOTE.startswith(encode(HEAD) + f"\n— {NAME} ")
    assert NOTE.endswith("\n")


def test_key_ids_are_those_of_the_go_checksum_database() -> None:
    """sum.golang.org publishes its Ed25519 key in this form; the id in the middle is a hash of the rest."""
    published = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    found = Verifier.parse(published)
    assert found is not None
    assert (found.name, found.key_id.hex(), str(found)) == ("sum.golang.org", "033de0ae", published)


def test_signatures_are_rfc_8032s() -> None:
    """RFC 8032 §7.1, test 2: the seed's public key, and its signature over one byte."""
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    verifier = Signer(NAME, DerivedKey("0", seed)).verifier
    signature = bytes.fromhex(
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    assert verifier.public.hex() == "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    assert verifier.accepts(b"\x72", signature)
    assert not verifier.accepts(b"\x73", signature)
    assert not verifier.accepts(b"\x72", signature[:-1])


@pytest.mark.parametrize(
    "head",
    [
        HEAD,
        Head(NAME, 0, merkle.EMPTY_ROOT, SEALED),
        Head(NAME, merkle.MOST_LEAVES, HEAD.root, SEALED.replace(microsecond=0)),
        replace(HEAD, sealed_at=SEALED.astimezone(timezone(timedelta(hours=5, minutes=30)))),
        replace(HEAD, previous=digest(NOTE)),
    ],
    ids=["five", "empty", "largest", "another zone", "chained"],
)
def test_what_is_signed_is_read(head: Head) -> None:
    assert read(SIGNER.sign(head), TRUSTED) == head


@pytest.mark.parametrize(
    ("size", "root", "origin", "sealed_at"),
    [
        (-1, HEAD.root, NAME, SEALED),
        (2**63, HEAD.root, NAME, SEALED),
        (5, b"short", NAME, SEALED),
        (0, HEAD.root, NAME, SEALED),
        (5, HEAD.root, "", SEALED),
        (5, HEAD.root, "two words", SEALED),
        (5, HEAD.root, "a+b", SEALED),
        (5, HEAD.root, "a\nb", SEALED),
        (5, HEAD.root, NAME, SEALED.replace(tzinfo=None)),
    ],
)
def test_what_a_checkpoint_cannot_say_is_no_head(size: int, root: bytes, origin: str, sealed_at: datetime) -> None:
    with pytest.raises(BadHead):
        Head(origin, size, root, sealed_at)


def test_a_log_signs_only_under_its_own_name() -> None:
    with pytest.raises(BadHead):
        OTHER_LOG.sign(HEAD)


def _signed(text: str, signer: Signer = SIGNER) -> str:
    """Any text, soundly signed: what our own key would have to do to produce a malformed head."""
    blob = signer.verifier.key_id + signer._private.sign(text.encode())
    return f"{text}\n— {signer.verifier.name} {base64.b64encode(blob).decode()}\n"


LINES = TEXT.split("\n")


def _with_line(at: int, line: str) -> str:
    return "\n".join([*LINES[:at], line, *LINES[at + 1 :]]) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        _with_line(1, "05"),
        _with_line(1, "+5"),
        _with_line(1, "-5"),
        _with_line(1, "5 "),
        _with_line(1, ""),
        _with_line(1, "٥"),
        _with_line(1, "9" * 19),
        _with_line(1, "0"),
        _with_line(2, LINES[2].rstrip("=")),
        _with_line(2, LINES[2][:-2] + "B="),
        _with_line(2, base64.b64encode(b"short").decode()),
        _with_line(2, "é" * 44),
        _with_line(0, "two words"),
        _with_line(3, "sealed_at 2026-11-20T10:02:24.123456+00:00"),
        _with_line(3, "sealed_at 2026-11-20T10:02:24.000000Z"),
        _with_line(3, "sealed_at 2026-11-20T25:02:24Z"),
        _with_line(3, "sealed_at 2026-11-20"),
        _with_line(3, "Sealed_at 2026-11-20T10:02:24Z"),
        _with_line(3, "x\nsealed_at 2026-11-20T10:02:24Z"),
        TEXT + "\nprevious \n",
        TEXT + "\nprevious " + base64.b64encode(b"short").decode() + "\n",
        TEXT + "\nPrevious " + LINES[2] + "\n",
        TEXT + "\n" + LINES[2] + "\n",
        TEXT + "\nprevious " + LINES[2] + "\nmore\n",
        "\n".join(LINES[:3]) + "\n",
        TEXT + "\nmore\n",
        "\n",
    ],
)
def test_a_bent_head_is_malformed_though_signed(text: str) -> None:
    assert read(_signed(text), TRUSTED) is HeadFault.MALFORMED


@pytest.mark.parametrize(
    "note",
    [
        "",
        "\n\n",
        TEXT,
        TEXT + "\n",
        TEXT + "\n\n",
        NOTE[:-1],
        NOTE + "\n",
        NOTE + "junk\n",
        NOTE.replace("— ", "- "),
        NOTE.replace("— ", "—"),
        NOTE.replace("\n", "\r\n"),
        " " + NOTE,
        TEXT + "\n\n— " + NAME + " AAAA\x00\n",
        TEXT + "\n\n— " + NAME + " AAAAAB=\n",
        NOTE[:-3] + chr(ord(NOTE[-3]) + 1) + NOTE[-2:],
        NOTE + SIGNATURE * 50,
        "x" * (MAX_NOTE_CHARACTERS + 1),
        "\n\n" * 10**6,
        "\ud800" + NOTE,
    ],
    ids=range(19),
)
def test_what_is_no_note_is_malformed(note: str) -> None:
    assert read(note, TRUSTED) is HeadFault.MALFORMED


def test_strangers_and_forgers() -> None:
    forged = SIGNER.sign(replace(HEAD, size=6)).partition("\n\n")[0] + "\n\n" + SIGNATURE
    impostor = _signed(encode(HEAD), OTHER_LOG)
    assert read(NOTE, []) is HeadFault.UNKNOWN_KEY
    assert read(NOTE, [STRANGER.verifier]) is HeadFault.UNKNOWN_KEY
    assert read(forged, TRUSTED) is HeadFault.BAD_SIGNATURE
    assert read(impostor, [*TRUSTED, OTHER_LOG.verifier]) is HeadFault.WRONG_ORIGIN


def test_witnesses_are_passed_over_but_trusted_keys_must_all_be_right() -> None:
    witness = _signed(encode(HEAD), OTHER_LOG).partition("\n\n")[2]
    broken = f"— {NAME} {base64.b64encode(STRANGER.verifier.key_id + bytes(64)).decode()}\n"
    assert read(NOTE + witness, TRUSTED) == HEAD
    assert read(TEXT + "\n\n" + witness + SIGNATURE, TRUSTED) == HEAD
    assert read(NOTE + broken, TRUSTED) == HEAD
    assert read(NOTE + broken, [*TRUSTED, STRANGER.verifier]) is HeadFault.BAD_SIGNATURE


def test_a_head_of_the_previous_key_is_still_read() -> None:
    assert read(_signed(encode(HEAD), STRANGER), [SIGNER.verifier, STRANGER.verifier]) == HEAD


@given(st.integers(0, len(NOTE) - 2), st.characters(codec="utf-8"))
def test_no_changed_character_passes(at: int, character: str) -> None:
    assume(NOTE[at] != character)
    assert isinstance(read(NOTE[:at] + character + NOTE[at + 1 :], TRUSTED), HeadFault)


@given(st.text())
def test_any_text_gets_an_answer(text: str) -> None:
    assert read(text, TRUSTED) is HeadFault.MALFORMED
    assert read(f"{TEXT}\n\n{text}", TRUSTED) in set(HeadFault)
    assert Verifier.parse(text) is None


def test_a_chained_head_names_the_one_before() -> None:
    """Printed where other tools look for extension lines: after the root, before the signatures."""
    chained = SIGNER.sign(replace(HEAD, previous=digest(NOTE)))
    named = base64.b64encode(hashlib.sha256(NOTE.encode()).digest()).decode()
    assert chained.partition("\n\n")[0] == f"{TEXT}\nprevious {named}"


def test_what_the_chain_vouches_for_is_read_whoever_signed_it() -> None:
    assert unchecked(NOTE) == HEAD
    assert unchecked(TEXT + "\n\n— x AAAAAAAA\n") == HEAD
    assert [unchecked(text) for text in ("", TEXT, TEXT + "\n", "x\n\n", "\n\n" * 10**5)] == [None] * 5


def test_a_head_before_is_named_by_a_whole_digest() -> None:
    with pytest.raises(BadHead):
        replace(HEAD, previous=b"short")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "+",
        "++",
        f"{SIGNER.verifier}=",
        str(SIGNER.verifier).replace("+", "-", 1),
        str(SIGNER.verifier).replace(SIGNER.verifier.key_id.hex(), "00000000"),
        str(SIGNER.verifier).upper(),
        " " + str(SIGNER.verifier),
        f"{NAME}+{SIGNER.verifier.key_id.hex()}+" + base64.b64encode(b"\x02" + SIGNER.verifier.public).decode(),
        f"{NAME}+{SIGNER.verifier.key_id.hex()}+" + base64.b64encode(b"\x01short").decode(),
    ],
)
def test_what_is_no_verifier_key_is_none(text: str) -> None:
    assert Verifier.parse(text) is None


def test_a_verifier_key_is_read_back() -> None:
    assert Verifier.parse(str(SIGNER.verifier)) == SIGNER.verifier


def _head(size: int, **changes: Any) -> Head:
    return replace(Head(NAME, size, merkle.root_of(LEAVES[:size]), SEALED), **changes)


@pytest.mark.parametrize("size", range(9))
def test_every_later_head_extends_every_earlier_one(size: int) -> None:
    nodes = merkle.in_memory(LEAVES)
    for old in range(size + 1):
        proof = merkle.prove_consistency(nodes, old, size) if old else ()
        assert extends(_head(old), _head(size), proof)


def test_a_rewritten_log_extends_nothing() -> None:
    """Edit, swap, truncation and a consistent rewrite: each gives a tree that cannot be shown to begin with the old."""
    old = _head(5)
    edited = [*LEAVES[:2], LEAVES[7], *LEAVES[3:]]
    swapped = [LEAVES[1], LEAVES[0], *LEAVES[2:]]
    for leaves in (edited, swapped):
        new = Head(NAME, 8, merkle.root_of(leaves), SEALED)
        assert not extends(old, new, merkle.prove_consistency(merkle.in_memory(leaves), 5, 8))
    assert not extends(old, _head(4), ())
    assert not extends(old, _head(5, root=_head(4).root), ())
    assert not extends(old, _head(8, origin="elsewhere.test"), merkle.prove_consistency(merkle.in_memory(LEAVES), 5, 8))
    assert not extends(_head(0), _head(8), (LEAVES[0],))
