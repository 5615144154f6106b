"""Paths as they are shown."""

from pathlib import Path

import pytest

from leasebox.cli.places import shown


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/tmp/anna/.local/share/leasebox", "~/.local/share/leasebox"),
        ("/tmp/annabel/x", "/tmp/annabel/x"),
        ("/srv/leasebox", "/srv/leasebox"),
    ],
    ids=["inside", "neighbour", "elsewhere"],
)
def test_a_path_for_the_eye(path: str, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/tmp/anna")
    assert shown(Path(path)) == text
