"""Pages: newest first, whole, stable while rows are added; times and cursors that are none are refused."""

import base64
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from leasebox.infra.web.listing import after, in_utc, moment, page
from leasebox.values.errors import BadRequest
from tests.kit import House
from tests.kit_mail import shared_house

__all__ = ["shared_house"]


@given(st.binary(min_size=16, max_size=16))
def test_a_cursor_is_the_last_id_shown(raw: bytes) -> None:
    last = uuid.UUID(bytes=raw)
    made = page([last, uuid.uuid4()], 1, str, lambda row: row)
    assert made.items == [str(last)]
    assert made.next_cursor is not None
    assert len(made.next_cursor) == 22
    assert after(made.next_cursor) == last


@pytest.mark.parametrize(
    ("rows", "limit", "more"), [(0, 1, False), (1, 1, False), (2, 1, True), (3, 2, True), (2, 2, False)]
)
def test_only_an_extra_row_means_more(rows: int, limit: int, more: bool) -> None:
    made = page([uuid.uuid4() for _ in range(rows)], limit, str, lambda row: row)
    assert (len(made.items), made.next_cursor is not None) == (min(rows, limit), more)


@pytest.mark.parametrize("text", ["", "x", "a" * 21, "a" * 23, "=" * 22, "é" * 22, "a" * 21 + "*", "a" * 20 + "\n\n"])
def test_what_is_no_cursor_is_400(text: str) -> None:
    with pytest.raises(BadRequest):
        after(text)


def test_no_cursor_is_the_first_page() -> None:
    assert after(None) is None


async def test_a_list_stays_whole_while_it_grows(shared_house: House) -> None:
    agent = await shared_house.agent()
    made = [(await agent.http.post("/v2/agents", json={"name": f"a{n}"})).json()["agent_id"] for n in range(7)]
    seen, cursor = [], None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        told = (await agent.http.get("/v2/agents", params=query)).json()
        seen += [each["agent_id"] for each in told["items"]]
        cursor = told["next_cursor"]
        if cursor is None:
            break
        await agent.http.post("/v2/agents", json={"name": "late"})
    assert seen == [*reversed(made), agent.agent_id]


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("limit=0", "query.limit"),
        ("limit=101", "query.limit"),
        ("limit=x", "query.limit"),
        ("cursor=x", "query.cursor"),
        ("limit=0&cursor=x", "query.limit query.cursor"),
    ],
)
async def test_faults_of_a_query_are_named_together(shared_house: House, query: str, path: str) -> None:
    answer = await (await shared_house.agent()).http.get(f"/v2/agents?{query}")
    assert answer.status_code == 400
    assert {each["path"] for each in answer.json()["errors"]} == set(path.split())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("2026-11-20T10:02:24Z", datetime(2026, 11, 20, 10, 2, 24, tzinfo=UTC)),
        ("2026-11-20T10:02:24.5+02:00", datetime(2026, 11, 20, 8, 2, 24, 500_000, tzinfo=UTC)),
        ("2026-11-20T10:02:24 02:00", datetime(2026, 11, 20, 8, 2, 24, tzinfo=UTC)),  # a + that was not escaped
        ("0001-01-01T00:00:00Z", datetime(1, 1, 1, tzinfo=UTC)),
    ],
)
def test_times_are_rfc_3339(text: str, wanted: datetime) -> None:
    found = moment(text, "since")
    assert found == wanted
    assert found.tzinfo is UTC


@pytest.mark.parametrize(
    "text",
    [
        "",
        "yesterday",
        "2026-11-20",
        "2026-11-20T10:02:24",
        "1700000000",
        "2026-13-01T00:00:00Z",
        "2026-11-20T10:02Z\x00",
    ],
)
def test_other_times_are_400_naming_the_field(text: str) -> None:
    with pytest.raises(BadRequest) as refused:
        moment(text, "since")
    assert [fault.path for fault in refused.value.fields["errors"]] == ["query.since"]
    assert moment(None, "since") is None


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_times_beyond_the_calendar_are_400_everywhere(shared_house: House, text: str) -> None:
    with pytest.raises(BadRequest):
        in_utc(datetime.fromisoformat(text), "query.since")
    agent = await shared_house.agent()
    answer = await agent.http.get("/v2/messages", params={"since": text})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "query.since")
    answer = await agent.http.post("/v2/api-keys", json={"name": "k", "scopes": ["mail:read"], "expires_at": text})
    assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, "body.expires_at")


def test_a_cursor_is_url_safe() -> None:
    made = page([uuid.UUID(bytes=b"\xff\xfe" * 8)] * 2, 1, str, lambda row: row)
    assert made.next_cursor == base64.urlsafe_b64encode(b"\xff\xfe" * 8).decode().rstrip("=")
