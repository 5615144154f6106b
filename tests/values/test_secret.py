"""Secrets show themselves to nobody who does not ask for them."""

import copy
import hashlib
import json
import logging
import pickle
import traceback

import pytest

from leasebox.values.secret import Secret, fingerprint

CANARY = "c4n4ry-of-a-secret"


@pytest.mark.parametrize("show", [str, repr, "{}".format, "{!r}".format, "{:>40}".format, lambda secret: f"{[secret]}"])
def test_no_way_of_printing_shows_it(show: object) -> None:
    try:
        text = show(Secret(CANARY))  # type: ignore[operator]
    except TypeError:
        return  # a width is not for it
    assert CANARY not in text
    assert "***" in text


def test_no_log_and_no_traceback_shows_it(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("probe").warning("%s %r", Secret(CANARY), {"key": Secret(CANARY)})
    try:
        raise ValueError(Secret(CANARY))
    except ValueError as fault:
        told = "".join(traceback.format_exception(fault))
    assert CANARY not in caplog.text + told


@pytest.mark.parametrize("store", [pickle.dumps, copy.deepcopy, json.dumps])
def test_it_is_not_stored_by_accident(store: object) -> None:
    with pytest.raises(TypeError):
        store(Secret(CANARY))  # type: ignore[operator]


def test_only_reveal_gives_it() -> None:
    assert Secret(CANARY).reveal() == CANARY


def test_secrets_are_compared_by_content() -> None:
    assert Secret("a") == Secret("a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"
    assert len({Secret("a"), Secret("a"), Secret("ü")}) == 2
    assert Secret("x")
    assert not Secret("")


def test_a_fingerprint_is_sha_256_of_the_text() -> None:
    assert fingerprint(Secret("lbs_ü")) == hashlib.sha256("lbs_ü".encode()).digest()
