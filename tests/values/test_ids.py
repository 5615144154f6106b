"""Ids: UUIDv7 inside, prefixed text outside, and nothing else is one."""

import uuid
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.values import ids
from leasebox.values.ids import Id, LeaseId, MailboxId, MalformedId, lowest_id

AT = datetime(2026, 11, 20, 10, 2, 24, 123456, UTC)
KINDS = [kind for kind in vars(ids).values() if isinstance(kind, type) and issubclass(kind, Id) and kind is not Id]


def test_a_new_id_is_a_uuid_of_version_7_at_its_millisecond() -> None:
    made = LeaseId.new(AT)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == int(AT.timestamp() * 1000)
    assert str(uuid.UUID(int=made.int))[14] == "7"


def test_its_other_74_bits_are_random() -> None:
    made = [LeaseId.new(AT + timedelta(milliseconds=each)).int for each in range(2_000)]
    low = [number & ((1 << 80) - 1) for number in made]
    assert len(set(low)) == 2_000
    steady = ~0
    for number in low:
        steady &= ~(number ^ low[0])
    assert (steady & ((1 << 80) - 1)).bit_count() == 6, "only version and variant stay the same"


def test_of_one_millisecond_each_is_higher_than_the_one_before_by_nobody_knows_how_much() -> None:
    made = [LeaseId.new(AT).int for _ in range(2_000)]
    steps = [later - earlier for earlier, later in pairwise(made)]
    assert min(steps) > 0
    assert len(set(steps)) == len(steps)
    assert sorted(steps)[1_000] > 1 << 30


def test_at_the_end_of_what_a_millisecond_can_number_it_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ids, "_NEWEST", [int(AT.timestamp() * 1000), (1 << 74) - 1])
    made = LeaseId.new(AT)
    assert made.int >> 80 == int(AT.timestamp() * 1000)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)


def test_later_ids_sort_later_as_uuid_and_as_text() -> None:
    made = [MailboxId.new(AT + timedelta(milliseconds=each)) for each in range(0, 5_000, 7)]
    assert made == sorted(made)
    assert [str(each) for each in made] == sorted(str(each) for each in made)


def test_every_kind_has_a_prefix_of_its_own() -> None:
    assert len({kind.prefix for kind in KINDS}) == len(KINDS) >= 11
    assert all(kind.prefix.isalpha() and kind.prefix.islower() and len(kind.prefix) == 3 for kind in KINDS)


# The TypeID specification's own examples (suffixes are of the format, prefixes ours).
@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("lse_00000000000000000000000000", "00000000-0000-0000-0000-000000000000"),
        ("lse_00000000000000000000000001", "00000000-0000-0000-0000-000000000001"),
        ("lse_0000000000000000000000000g", "00000000-0000-0000-0000-000000000010"),
        ("lse_7zzzzzzzzzzzzzzzzzzzzzzzzz", "ffffffff-ffff-ffff-ffff-ffffffffffff"),
        ("lse_0123456789abcdefghjkmnpqrs", "0110c853-1d09-52d8-d73e-1194e95b5f19"),
        ("lse_01h455vb4pex5vsknk084sn02q", "01890a5d-ac96-774b-bcce-b302099a8057"),
    ],
)
def test_text_and_number_are_two_ways_to_say_one_thing(text: str, number: str) -> None:
    assert LeaseId.parse(text) == uuid.UUID(number)
    assert str(LeaseId.of(uuid.UUID(number))) == text


@given(st.integers(min_value=0, max_value=2**128 - 1), st.sampled_from(KINDS))
def test_what_is_written_is_read_again(number: int, kind: type[Id]) -> None:
    made = kind.of(uuid.UUID(int=number))
    read = kind.parse(str(made))
    assert (read, type(read)) == (made, kind)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "_",
        "lse",
        "lse_",
        "mbx_01h455vb4pex5vsknk084sn02q",
        "01h455vb4pex5vsknk084sn02q",
        "LSE_01h455vb4pex5vsknk084sn02q",
        "lse_01H455VB4PEX5VSKNK084SN02Q",
        "lse_01h455vb4pex5vsknk084sn02",
        "lse_01h455vb4pex5vsknk084sn02qq",
        "lse_81h455vb4pex5vsknk084sn02q",
        "lse_zzzzzzzzzzzzzzzzzzzzzzzzzz",
        "lse_01h455vb4pex5vsknk084sn02u",
        "lse_01h455vb4pex5vsknk084sn0 q",
        "lse_01h455vb4pex5vsknk084sn02\u0661",
        "lse_01h455vb4pex5vsknk084sn02q\n",
        "lse_01890a5d-ac96-774b-bcce-b302099a8057",
    ],
)
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(MalformedId):
        LeaseId.parse(text)


@given(st.text(max_size=40) | st.from_regex(r"lse_[0-9a-z]{26}", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        assert str(LeaseId.parse(text)) == text
    except MalformedId as refused:
        assert str(refused) == "lse"


def test_an_id_shows_its_kind() -> None:
    assert repr(LeaseId.parse("lse_01h455vb4pex5vsknk084sn02q")) == "LeaseId('lse_01h455vb4pex5vsknk084sn02q')"


@pytest.mark.parametrize("year", [2, 1969, 1970, 2026, 9999])
def test_the_lowest_id_of_a_moment_parts_ids_by_time(year: int) -> None:
    at = datetime(year, 3, 1, tzinfo=UTC)
    lowest = lowest_id(at)
    if year < 1970:
        assert lowest.int == 0
        return
    assert LeaseId.new(at) > lowest
    assert LeaseId.new(at - timedelta(milliseconds=1)) < lowest or year == 1970
