"""Bodies: strict, total, and all faults told together."""

from typing import Annotated, Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.infra.web.body import decode, decode_with_nul
from leasebox.values.errors import BadRequest


class Inner(msgspec.Struct, forbid_unknown_fields=True):
    count: int


class Order(msgspec.Struct, forbid_unknown_fields=True):
    name: Annotated[str, msgspec.Meta(max_length=5)]
    hours: Annotated[int, msgspec.Meta(ge=1, le=9)]
    inner: Inner | None = None
    words: list[str] = []
    more: dict[str, Any] = {}


def paths(raw: bytes) -> set[str]:
    with pytest.raises(BadRequest) as refused:
        decode(raw, Order)
    return {fault.path for fault in refused.value.fields["errors"]}


def test_a_right_body_is_read() -> None:
    assert decode(b'{"name":"a","hours":2,"inner":{"count":1}}', Order) == Order("a", 2, Inner(1))


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (b"{}", {"body.name", "body.hours"}),
        (b'{"name":"toolong","hours":"2","x":1,"y":2}', {"body.name", "body.hours", "body.x", "body.y"}),
        (b'{"name":"a","hours":2,"inner":{"count":"1"}}', {"body.inner.count"}),
        (b'{"name":"a","hours":2,"words":["a",2]}', {"body.words[1]"}),
        (b'{"name":"a\\u0000","hours":2}', {"body.name"}),
        (b'{"name":"a","hours":2,"more":{"a":[{"b":"\\u0000"}]}}', {"body.more.a[0].b"}),
        (b'{"name":"a","hours":2,"more":{"\\u0000":1}}', {"body.more"}),
        (b"[]", {"body"}),
        (b"null", {"body"}),
        (b"", {"body"}),
        (b"{", {"body"}),
        (b"0\x19\xff", {"body"}),
        (b'"\xff"', {"body"}),
        (b"[" * 100_000, {"body"}),
        (b'{"name":"\\ud800","hours":2}', {"body"}),
    ],
)
def test_faults_are_named(raw: bytes, wanted: set[str]) -> None:
    assert paths(raw) == wanted


def test_a_backslash_before_u0000_is_no_nul() -> None:
    assert decode(b'{"name":"\\\\u0000","hours":2}', msgspec.defstruct("Loose", [("name", str), ("hours", int)])).name


@given(st.binary(max_size=60) | st.text(max_size=40).map(str.encode))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    try:
        decode(raw, Order)
    except BadRequest as refused:
        assert refused.fields["errors"]


def test_a_route_that_judges_its_texts_itself_is_given_a_nul() -> None:
    raw = rb'{"name": "a\u0000b", "hours": 1}'
    assert decode_with_nul(raw, Order).name == "a\x00b"
    assert paths(raw) == {"body.name"}
    with pytest.raises(BadRequest) as refused:
        decode_with_nul(rb'{"name": "a\u0000b", "surprise": 1}', Order)
    assert {fault.path for fault in refused.value.fields["errors"]} == {"body.surprise", "body.hours"}
