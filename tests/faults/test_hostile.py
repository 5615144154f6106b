"""The spoilers spoil: what they give is never what they were given, and the same dice give the same."""

import random
from pathlib import Path

from eth_account import Account

from tests.faults import hostile
from tests.kit import sign

WALLET = Account.from_key(b"\x11" * 32)
MESSAGE = "a.example wants you to sign in\n0x00\n\nURI: https://a.example\nNonce: 0123456789abcdef"


def test_the_same_dice_give_the_same_words() -> None:
    for make in (lambda dice: hostile.spoilt(b"Subject: x\r\n\r\ny\r\n", dice), hostile.dialogue):
        assert [make(random.Random(n)) for n in range(50)] == [make(random.Random(n)) for n in range(50)]


def test_no_spoilt_sign_in_is_the_sound_one() -> None:
    signature = sign(WALLET, MESSAGE)
    changed = [hostile.sign_in(MESSAGE, signature, random.Random(n)) for n in range(500)]
    assert (MESSAGE, signature) not in changed
    assert 100 < sum(text == MESSAGE for text, _ in changed) < 400
    assert len(set(changed)) > 150


def test_a_signature_written_otherwise_counts_as_sound() -> None:
    signature = sign(WALLET, MESSAGE)
    v = int(signature[-2:], 16)
    for same in (signature.upper(), signature[2:], f"{signature[:-2]}{v - 27:02x}", f"{signature[:-2]}{v + 8:02x}"):
        assert hostile._meaning(same) == hostile._meaning(signature)
    assert hostile._meaning(f"{signature[:-2]}{55 - v:02x}") != hostile._meaning(signature)


def test_no_spoilt_proof_is_the_sound_one_and_each_fits_into_a_header() -> None:
    sound, other = "v1.kid.payload.mac", "v1.kid.another.cam"
    changed = [hostile.proof(sound, other, random.Random(n)) for n in range(500)]
    assert sound not in changed
    assert all(each.isprintable() and each == each.strip() for each in changed)


def test_no_spelling_of_a_path_is_the_path() -> None:
    spelt = hostile.spellings("/v2/messages/wait")
    assert len(spelt) == len(set(spelt)) >= 25
    assert "/v2/messages/wait" not in spelt
    assert not any(" " in each for each in spelt)


def test_every_mail_of_the_corpus_has_smtps_line_ends() -> None:
    mails = hostile.corpus(Path(__file__).parents[1])
    assert len(mails) >= 5
    assert not any(b"\n" in each.replace(b"\r\n", b"") for each in mails)
