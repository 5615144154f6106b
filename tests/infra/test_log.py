"""Logs: one object a line, whose they are, and no secret by any road."""

import io
import json
import logging
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from leasebox.infra import log
from leasebox.values.secret import Secret

CANARY = "c4n4ry_s3cr3t-0123456789abcdefghij"


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root, hook = logging.getLogger(), sys.excepthook
    handlers, level = root.handlers[:], root.level
    text = io.StringIO()
    log.configure("info", "json", text)
    yield text
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:], sys.excepthook = handlers, hook
    root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_one_object_with_time_level_event_and_component(stream: io.StringIO) -> None:
    log.get("smtp").info("mail\naccepted", size_bytes=812, secure=True, share=0.5, nothing=None)
    (line,) = lines(stream)
    assert list(line)[:3] == ["time", "level", "event"]
    assert line["time"].endswith("Z")
    assert {**line, "time": ""} == {
        "time": "",
        "level": "info",
        "event": "mail\naccepted",
        "component": "smtp",
        "size_bytes": 812,
        "secure": True,
        "share": 0.5,
        "nothing": None,
    }


def test_what_is_bound_stands_in_every_line_of_the_task(stream: io.StringIO) -> None:
    log.bind_process(role="http")
    with log.bind(request_id="req-1"):
        log.get("a").info("one")
        logging.getLogger("library").warning("two")
    log.get("a").info("three")
    assert [(line["role"], line.get("request_id")) for line in lines(stream)] == [
        ("http", "req-1"),
        ("http", "req-1"),
        ("http", None),
    ]


def test_levels_hold_for_us_and_libraries_tell_only_of_trouble(stream: io.StringIO) -> None:
    log.get("a").debug("hidden")
    logging.getLogger("library").info("hidden")
    logging.getLogger("library").error("seen %d", 1)
    log.configure("error", "json", stream)
    log.get("a").warning("hidden")
    logging.getLogger("library").warning("hidden")
    assert [(line["event"], line["component"]) for line in lines(stream)] == [("seen 1", "library")]


@pytest.mark.parametrize(
    "facts",
    [
        {"password": CANARY},
        {"mailbox_password": CANARY},
        {"X-Payment-Proof": CANARY},
        {"Authorization": CANARY},
        {"api_key": CANARY},
        {"apikey": CANARY},
        {"set_cookie": [CANARY]},
        {"access_token": CANARY},
        {"signature": CANARY.encode()},
        {"webhook_secret": 12345678901234567890},
        {"otp_code": CANARY},
        {"holder": Secret(CANARY)},
        {"holders": [Secret(CANARY), (Secret(CANARY),), {Secret(CANARY)}]},
        {"request": {"headers": {"cookie": CANARY}}},
        {"request": [{"deep": [{"passphrase": CANARY}]}]},
        {"note": f"GET / Bearer {CANARY}"},
        {"note": f"basic {CANARY}=="},
        {"note": f"key lb_{CANARY} used"},
        {"note": f"token lbs_{CANARY} used"},
        {"note": f"secret whsec_{CANARY}"},
        {"note": f"postgresql://leasebox:{CANARY}@/leasebox?host=/run"},
        {"note": f"smtp://user:{CANARY}@p4ss@relay.example:587"},
        {"note": f"redis at unix:///run/valkey?password={CANARY}&db=0"},
        {"note": f"https://rpc.example/?api_key={CANARY}"},
        {"note": f"proof v1.k1.{CANARY}.{CANARY}"},
        {"note": "signed 0x" + "c4" * 65},
        {"note": f"bytes Bearer {CANARY}".encode()},
        {f"Bearer {CANARY}"[:0] + "url": ValueError(f"https://u:{CANARY}@h/")},
        {"event": f"Bearer {CANARY}"},
    ],
    ids=lambda facts: f"{facts}"[:60],
)
def test_no_secret_reaches_a_log(stream: io.StringIO, facts: dict[str, Any]) -> None:
    said = facts.pop("event", "something")
    log.get("a").info(said, **facts)
    logging.getLogger("library").warning("%s", said, extra={"facts": facts, **facts})
    assert len(lines(stream)) == 2
    for canary in (CANARY, "c4" * 65, "12345678901234567890"):
        assert canary not in stream.getvalue()


def test_no_secret_reaches_a_log_through_an_exception(stream: io.StringIO) -> None:
    try:
        raise ValueError(f"cannot reach postgresql://u:{CANARY}@h/d")
    except ValueError:
        log.get("a").exception("failed")
        logging.getLogger("library").exception("failed too")
    sys.excepthook(ValueError, ValueError(f"Bearer {CANARY}"), None)
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert [line["event"] for line in lines(stream)] == ["failed", "failed too", "died of an uncaught exception"]
    assert all("ValueError" in line["exception"] for line in lines(stream))
    assert CANARY not in stream.getvalue()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("proof_id", "prf_01h2xcejqtf2nbrexx3vqjhp41"),
        ("key_id", "key_01h2xcejqtf2nbrexx3vqjhp41"),
        ("has_password", True),
        ("tx_hash", "0x" + "ab" * 32),
        ("wallet", "0x" + "ab" * 20),
        ("url", "https://hooks.example/path?x=1"),
        ("sender", "ann@mail.example"),
    ],
)
def test_what_one_searches_logs_for_stays(stream: io.StringIO, key: str, value: Any) -> None:
    log.get("a").info("something", **{key: value})
    assert lines(stream)[0][key] == value


def test_hostile_values_are_bounded_and_written(stream: io.StringIO) -> None:
    deep: Any = "end"
    for _ in range(50):
        deep = [deep]
    log.get("a").info("deep", deep=deep, raw=b"\xff\x00", text="line\nbreak\x1b[31m")
    (line,) = lines(stream)
    assert line["raw"] == "\\xff\x00"
    assert len(stream.getvalue().splitlines()) == 1


def test_text_is_for_people(stream: io.StringIO) -> None:
    log.configure("info", "text", stream)
    log.get("a").info("mail accepted", size_bytes=812, password=CANARY)
    assert "mail accepted" in stream.getvalue()
    assert "size_bytes=812" in stream.getvalue()
    assert CANARY not in stream.getvalue()
    assert not stream.getvalue().startswith("{")


@pytest.mark.parametrize(("terminal", "start"), [(True, "20"), (False, "{")])
def test_the_form_follows_the_stream(stream: io.StringIO, terminal: bool, start: str) -> None:
    stream.isatty = lambda: terminal  # type: ignore[method-assign]
    log.configure("info", None, stream)
    log.get("a").info("something")
    assert stream.getvalue().replace("\x1b[2m", "").startswith(start)


def test_a_reader_that_went_away_costs_nothing_but_lines(stream: io.StringIO) -> None:
    log.get("a").info("before")
    seen = stream.getvalue()
    stream.close()
    log.get("a").info("after")
    logging.getLogger("library").error("after")
    assert "before" in seen


def test_a_line_told_goes_where_all_lines_go(stream: io.StringIO, capsys: pytest.CaptureFixture[str]) -> None:
    log.tell("http", "request", {"status": 200})
    assert [line["status"] for line in lines(stream)] == [200]
    structlog.reset_defaults()
    log.tell("http", "request", {"status": 201})
    assert len(lines(stream)) == 1
    assert "status=201" in capsys.readouterr().out
