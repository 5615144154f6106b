"""Instances for benches: each its own, or one that several share."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.bench import house


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What befell the instances, in order."""
    told: list[str] = []

    @contextmanager
    def up(home: Path, **settings: str) -> Iterator[Any]:
        assert Path(settings["LEASEBOX_PRICES"]).is_file()
        name = settings.get("LEASEBOX_DOMAINS", "usual")
        told.append(f"{name} up")
        yield SimpleNamespace(process=SimpleNamespace(pid=0), home=home, settings=settings)
        told.append(f"{name} down")

    @contextmanager
    def entered(instance: Any) -> Iterator[Any]:
        yield instance

    monkeypatch.setattr(house, "up", up)
    monkeypatch.setattr(house, "entered", entered)
    monkeypatch.setattr(house, "settle", lambda _: told.append("quiet"))
    return told


def open_all(*each: Mapping[str, str]) -> list[Any]:
    found = []
    for settings in each:
        with house.opened(**settings) as opened:
            found.append(opened)
    return found


def test_each_bench_has_an_instance_of_its_own(started: list[str]) -> None:
    first, second = open_all({}, {})
    assert first.home != second.home
    assert started == ["usual up", "usual down"] * 2


def test_those_that_share_one_get_it_when_it_is_quiet_and_it_ends_with_them(started: list[str]) -> None:
    with house.sharing():
        first, second, other = open_all({}, {"LEASEBOX_WEBHOOK_ALLOW": "127.0.0.0/8"}, {"LEASEBOX_DOMAINS": "other"})
        assert first is second
        assert other is not first
        assert started == ["usual up", "quiet", "quiet", "other up", "other down"]
    assert started[5:] == ["usual down"]
    assert open_all({})[0] is not first


def test_limits_are_counted_and_in_nobodys_way(started: list[str]) -> None:
    settings = open_all({})[0].settings
    assert started
    assert {name: settings[name] for name in settings if name.endswith("_RATE")} == {
        "LEASEBOX_API_RATE": "100000000/min",
        "LEASEBOX_SMTP_RATE": "100000000/min",
    }
