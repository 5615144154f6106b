"""The key of a home: drawn once, changed without losing any, named without being shown."""

from pathlib import Path

import pytest

from leasebox.infra import confine, master_key
from leasebox.values.secret import Secret

FIRST = Secret("f" * 40)


def test_it_is_kept_once_for_our_eyes_only(tmp_path: Path) -> None:
    master_key.keep(tmp_path, FIRST)
    master_key.keep(tmp_path, Secret("s" * 40))
    assert master_key.current(tmp_path).read_text() == "f" * 40 + "\n"
    assert master_key.current(tmp_path).stat().st_mode & 0o777 == 0o600


def test_its_name_tells_nothing_of_it(tmp_path: Path) -> None:
    assert master_key.used(tmp_path) is None
    master_key.note_use(tmp_path, FIRST)
    assert master_key.used(tmp_path) == master_key.name_of(FIRST)
    assert len(master_key.name_of(FIRST)) == 8
    assert master_key.name_of(FIRST) != master_key.name_of(Secret("s" * 40))
    assert "f" * 8 not in master_key.name_of(FIRST)


def test_a_change_keeps_the_one_before(tmp_path: Path) -> None:
    master_key.keep(tmp_path, FIRST)
    made = master_key.change(tmp_path, FIRST)
    assert master_key.current(tmp_path).read_text().strip() == made.reveal() != FIRST.reveal()
    assert master_key.previous(tmp_path).read_text().strip() == FIRST.reveal()
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}
    master_key.forget_previous(tmp_path)
    master_key.forget_previous(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


@pytest.mark.parametrize("dies_at", [1, 2])
def test_a_death_in_the_middle_loses_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dies_at: int) -> None:
    """At each of its two writes: before the previous key is there, and before the new one is."""
    master_key.keep(tmp_path, FIRST)
    writes = 0

    def deadly(path: Path, text: str) -> None:
        nonlocal writes
        writes += 1
        if writes == dies_at:
            raise KeyboardInterrupt
        write(path, text)

    write = confine.write_private
    monkeypatch.setattr(confine, "write_private", deadly)
    with pytest.raises(KeyboardInterrupt):
        master_key.change(tmp_path, FIRST)
    monkeypatch.undo()
    assert master_key.current(tmp_path).read_text().strip() == FIRST.reveal(), "it starts as before"
    made = master_key.change(tmp_path, FIRST)
    known = {path.read_text().strip() for path in (master_key.current(tmp_path), master_key.previous(tmp_path))}
    assert known == {made.reveal(), FIRST.reveal()}


def test_one_changes_at_a_time(tmp_path: Path) -> None:
    with master_key.changing(tmp_path) as first, master_key.changing(tmp_path) as second:
        assert (first, second) == (True, False)
    with master_key.changing(tmp_path) as again:
        assert again is True
