"""What is left of a subject without what programs put around it."""

import time

import pytest

from leasebox.mail.threads_subject import answers, base_subject, subject_key


@pytest.mark.parametrize(
    ("subject", "base"),
    [
        ("Offer 4711", "offer 4711"),
        ("Re: Offer 4711", "offer 4711"),
        ("RE:RE: offer   4711", "offer 4711"),
        ("AW: WG: Offer 4711", "offer 4711"),
        ("Antw: [sales] Offer 4711", "offer 4711"),
        ("[sales] Re: [sales] Offer 4711 (fwd)", "offer 4711"),
        ("Re[4]: Offer 4711", "offer 4711"),
        ("Re (2): Offer 4711", "offer 4711"),
        ("SV: VB: Offer 4711", "offer 4711"),
        ("RES: ENC: Offer 4711", "offer 4711"),
        ("RIF: I: Offer 4711", "offer 4711"),
        ("Odp: PD: Offer 4711", "offer 4711"),
        ("Ynt: İlt: Offer 4711", "i\u0307lt: offer 4711"),
        ("回复：转发：报价", "报价"),
        ("答复: 报价", "报价"),
        ("返信: お見積り", "お見積り"),
        ("답장: 견적", "견적"),
        ("Ответ: Предложение", "предложение"),
        ("Re： Ｏｆｆｅｒ", "offer"),
        ("Offer (was: Prices)", "offer"),
        ("Résumé: my work", "résumé: my work"),
        ("Rest: of the day", "rest: of the day"),
        ("[sales]", "[sales]"),
        ("Re: [sales]", "[sales]"),
        ("Re:", ""),
        ("  ", ""),
    ],
)
def test_prefixes_tags_and_trailers_go(subject: str, base: str) -> None:
    assert base_subject(subject) == base
    assert (subject_key(subject) is None) is (not base)


def test_a_key_is_the_same_for_answers_and_fits_bigint() -> None:
    keys = {subject_key(subject) for subject in ("Lunch", "Re: Lunch", "AW: [all] lunch", "Fwd: LUNCH")}
    assert len(keys) == 1
    assert all(-(2**63) <= (subject_key(f"subject {number}") or 0) < 2**63 for number in range(100))
    assert subject_key("Lunch") != subject_key("Lunch today")
    assert subject_key("\ud800") is not None


@pytest.mark.parametrize(
    ("subject", "answer"),
    [
        ("Re: Lunch", True),
        ("[all] Re: Lunch", True),
        ("答复: 报价", True),
        ("Lunch", False),
        ("Fwd: Lunch", False),
        ("[all] Lunch", False),
        ("Regarding: Lunch", False),
        ("", False),
    ],
)
def test_answers_say_so(subject: str, answer: bool) -> None:
    assert answers(subject) is answer


@pytest.mark.parametrize("subject", ["Re: " * 5_000, "[a] " * 5_000, "(fwd)" * 5_000, "(" * 20_000, "[" * 20_000])
def test_no_subject_takes_long(subject: str) -> None:
    start = time.thread_time()
    base_subject(subject)
    answers(subject)
    assert time.thread_time() - start < 0.05
