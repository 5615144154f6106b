"""Signatures that dkimpy and our own verifier must both believe, and stop believing when anything is changed."""

import base64
from datetime import UTC, datetime
from types import SimpleNamespace

import dkim
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from leasebox.mail.dkim import verify
from leasebox.sending.dkim_sign import Signer, signed
from leasebox.sending.transport import wire_form
from tests.fakes.dns import FakeDns

AT = datetime(2026, 11, 20, 10, tzinfo=UTC)
RSA, ED = rsa.generate_private_key(65537, 2048), Ed25519PrivateKey.generate()
KEYS = (Signer("here.example", "r1", RSA), Signer("here.example", "e1", ED))
PLAIN = (
    b"From: A <a@here.example>\r\nTo: b@there.example\r\nSubject: Hello\r\n  folded  subject\r\n"
    b"Date: Fri, 20 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1@here.example>\r\nMIME-Version: 1.0\r\n"
    b"Content-Type: text/plain; charset=utf-8\r\n\r\nHello  there. \r\n\r\n\ttabbed\r\n\r\n\r\n"
)


def records() -> dict[str, list[bytes]]:
    der = RSA.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    raw = ED.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    return {
        "txt r1._domainkey.here.example": [b"v=DKIM1; k=rsa; p=" + base64.b64encode(der)],
        "txt e1._domainkey.here.example": [b"v=DKIM1; k=ed25519; p=" + base64.b64encode(raw)],
    }


def ours(mail: bytes) -> list[str]:
    return [one.result for one in verify(mail, FakeDns(records()), AT)]


class Curve:
    """What dkimpy wants of PyNaCl, which is not here: the arithmetic is cryptography's, all before it dkimpy's own."""

    class VerifyKey:
        def __init__(self, key: bytes, encoder: object) -> None:
            self._key = Ed25519PublicKey.from_public_bytes(base64.b64decode(key))

        def verify(self, digest: bytes, signature: bytes) -> bool:
            self._key.verify(signature, digest)
            return True

    class Base64Encoder: ...


@pytest.fixture(autouse=True)
def curve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dkim, "nacl", SimpleNamespace(signing=Curve, encoding=Curve), raising=False)


def theirs(mail: bytes, place: int) -> bool:
    def txt(name: bytes, timeout: int = 5) -> bytes:
        return records()[f"txt {name.decode().rstrip('.')}"][0]

    return bool(dkim.DKIM(mail).verify(idx=place, dnsfunc=txt))


MAILS = {
    "plain": PLAIN,
    "no body": b"From: a@here.example\r\nSubject: x\r\n\r\n",
    "no separator": b"From: a@here.example\r\nSubject: x\r\n",
    "blank lines only": b"From: a@here.example\r\n\r\n\r\n\r\n",
    "lone line feeds": b"From: a@here.example\nSubject: x\n\nbare\nlines\r\nand\rreturns\n",
    "twice the same field": b"From: a@here.example\r\nTo: x@y\r\nTo: z@y\r\nReferences: <1>\r\n <2>\r\n\r\nx\r\n",
    "trailing blanks": b"From:   a@here.example  \r\nSubject:\tx\r\n\r\nx \t\r\n \r\n",
    "utf-8": "From: a@here.example\r\nSubject: Grüße\r\n\r\nÄ\r\n".encode(),
    "many recipients": b"From: a@here.example\r\nTo: " + b",\r\n ".join([b"someone@y.example"] * 90) + b"\r\n\r\nx",
    "dots": b"From: a@here.example\r\n\r\n.\r\n..\r\n.x\r\n",
}  # fmt: skip


@pytest.mark.parametrize("mail", MAILS.values(), ids=MAILS.keys())
def test_both_signatures_are_believed_by_both_verifiers(mail: bytes) -> None:
    made = signed(wire_form(mail), KEYS, AT)
    assert ours(made) == ["pass", "pass"]
    assert [theirs(made, place) for place in (0, 1)] == [True, True]
    assert made.endswith(wire_form(mail)), "a signature is put on top, nothing else changes"


def test_lines_are_short_and_end_with_crlf() -> None:
    added = signed(MAILS["many recipients"], KEYS, AT)[: -len(MAILS["many recipients"])]
    assert added.count(b"\n") == added.count(b"\r\n")
    assert max(map(len, added.split(b"\r\n"))) <= 100
    assert added.startswith(b"DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=here.example;\r\n\ts=e1; ")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"Hello  there", b"Hello  here"),
        (b"Subject: Hello", b"Subject: Hallo"),
        (b"From: A <a@here", b"From: A <b@here"),
        (b"From: A", b"From: other@evil.example\r\nFrom: A"),
        (b"From: A", b"Subject: put on top\r\nFrom: A"),
        (b"From: A", b"To: third@evil.example\r\nFrom: A"),
        (b"From: A", b"Reply-To: other@evil.example\r\nFrom: A"),
        (b"charset=utf-8", b"charset=x"),
        (b"<1@here.example>", b"<2@here.example>"),
    ],
    ids=range(9),
)
def test_what_is_changed_or_added_breaks_them(before: bytes, after: bytes) -> None:
    made = signed(PLAIN, KEYS, AT)
    head, mark, rest = made.partition(b"From: A")
    broken = head + (mark + rest).replace(before, after, 1)
    assert ours(broken) == ["fail", "fail"]


def test_what_relays_do_to_blanks_does_not() -> None:
    made = signed(PLAIN, KEYS, AT)
    refolded = made.replace(b"Hello\r\n  folded", b"Hello folded").replace(b"there. \r\n", b"there.\r\n")
    assert ours(refolded + b"\r\n\r\n") == ["pass", "pass"]
    assert ours(b"Received: from x\r\n\tby y; date\r\n" + made) == ["pass", "pass"]


def test_without_keys_nothing_is_signed() -> None:
    assert signed(PLAIN, (), AT) is PLAIN
