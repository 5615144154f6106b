"""Whatever is done to the rows, leaves or heads behind our back is found, and the right row is named."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import asyncpg
import pytest

from leasebox.audit import merkle
from leasebox.audit.heads import Signer
from leasebox.audit.tables import audit_rows
from leasebox.audit.verify import Figures, verify
from leasebox.infra.embedded import EngineUrls
from tests.audit.sealed import AUDIT, FACTS, KEY, ROW, STRANGE_KEY, Sealed, head_of, public, sealed_on
from tests.databases import database_named, drop

HEADS, PER_HEAD, UNSEALED = 8, 5, 3
SIZE = HEADS * PER_HEAD


@pytest.fixture(scope="module")
async def house(engines: EngineUrls, template: str) -> AsyncIterator[Sealed]:
    """40 rows under 8 heads, and 3 that are not sealed yet; one database for the whole file."""
    assert engines.database_url is not None
    server = await asyncpg.connect(engines.database_url)
    name = f"{template}_verify"
    await server.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
    async with sealed_on(database_named(engines.database_url, name)) as sealed:
        for _ in range(HEADS):
            await sealed.write(PER_HEAD)
            assert await sealed.seal() == PER_HEAD
        await sealed.write(UNSEALED)
        await sealed.remember()
        yield sealed
    await server.close()
    await drop(engines.database_url, name)


@pytest.fixture
async def log(house: Sealed) -> AsyncIterator[Sealed]:
    yield house
    await house.restore()


async def test_nothing_is_wrong_and_the_figures_are_told(log: Sealed) -> None:
    found = await log.sound(await log.note(2), await log.note(7))
    said = head_of(await log.note(7))
    assert found == Figures("audit", SIZE + UNSEALED, SIZE, HEADS, said.root, said.sealed_at, UNSEALED)


async def test_a_log_without_rows_is_sound(log: Sealed) -> None:
    assert await log.sound(log=FACTS) == Figures("facts", 0, 0, 0, merkle.EMPTY_ROOT, None, 0)


EDITS = {
    "id": "gen_random_uuid()",
    "at": "at + interval '1 microsecond'",
    "tenant_id": "NULL",
    "actor": "actor || ' '",
    "action": "'lease.grant'",
    "resource": "''",
    "outcome": "upper(outcome)",
    "request_id": "'req_2'",
    "detail": '\'{"n": 2, "price": 1.50}\'',
    "xid": "(xid::text::bigint + 1)::text::xid8",
}


def test_an_edit_of_every_column_is_tried() -> None:
    assert set(EDITS) == set(audit_rows.c.keys())


@pytest.mark.parametrize("column", EDITS)
async def test_an_edit_of_any_column_is_found(log: Sealed, column: str) -> None:
    row = await log.row_id(17)
    await log.tamper(f"UPDATE audit_rows SET {column} = {EDITS[column]} WHERE id = {ROW % 17}")
    found = await log.wrong()
    assert (found.log, found.leaf, found.row) == ("audit", 17, str(row))
    assert ("deleted" if column == "id" else "edited") in found.what


def exchanged_leaves(one: int, other: int) -> list[str]:
    """The two swap their numbers, and keep rows and hashes."""
    return [
        f"UPDATE seal_leaves SET leaf = -1 WHERE leaf = {one}",
        f"UPDATE seal_leaves SET leaf = {one} WHERE leaf = {other}",
        f"UPDATE seal_leaves SET leaf = {other} WHERE leaf = -1",
    ]


def exchanged_rows(one: int, other: int) -> list[str]:
    """The two leaves swap their rows, and keep their hashes."""
    return [
        f"CREATE TEMP TABLE pair ON COMMIT DROP AS SELECT * FROM seal_leaves WHERE leaf IN ({one}, {other})",
        f"UPDATE seal_leaves SET row_id = gen_random_uuid() WHERE leaf IN ({one}, {other})",
        f"UPDATE seal_leaves AS l SET row_id = p.row_id FROM pair AS p WHERE l.leaf = {one} + {other} - p.leaf",
    ]


def exchanged_contents(one: int, other: int) -> list[str]:
    """The two rows swap all that they say but their ids."""
    told = [each.name for each in audit_rows.c if each.name != "id"]
    names, values = ", ".join(told), ", ".join(f"other.{name}" for name in told)
    return [
        f"""UPDATE audit_rows AS mine SET ({names}) = ROW ({values}) FROM audit_rows AS other
            WHERE (mine.id, other.id) IN (({ROW % one}, {ROW % other}), ({ROW % other}, {ROW % one}))"""
    ]


CUT = "DELETE FROM audit_rows WHERE id IN (SELECT row_id FROM seal_leaves WHERE leaf >= 33)"
# What is done, the leaf at which it shows, the leaves of which one's row is named, and what is said.
TAMPERING: dict[str, tuple[list[str], int | None, set[int], str]] = {
    "a row deleted": ([f"DELETE FROM audit_rows WHERE id = {ROW % 17}"], 17, {17}, "was deleted"),
    "all rows deleted": (["TRUNCATE audit_rows"], 0, {0}, "was deleted"),
    "a row of no time": (
        [f"UPDATE audit_rows SET at = '20000-01-01' WHERE id = {ROW % 17}"],
        17,
        {17},
        "a time that no clock shows",
    ),
    "two rows exchanged": (exchanged_contents(11, 29), 11, {11}, "changed places"),
    "two rows exchanged under their leaves": (exchanged_rows(11, 29), 11, {11, 29}, "changed places"),
    "left leaves reordered": (exchanged_leaves(6, 12), 6, {6, 12}, "to leaf 7 was reordered"),
    "right leaves reordered": (exchanged_leaves(5, 9), 4, {4}, "to leaf 5 was reordered"),
    "neighbours reordered": (exchanged_leaves(4, 5), 4, {4, 5}, "was moved to a place"),
    "leaves reordered across heads": (
        exchanged_leaves(4, 8),
        0,
        {0},
        "to leaf 4 is not what the stored head of size 5",
    ),
    "a leaf deleted": (["DELETE FROM seal_leaves WHERE leaf = 17"], 17, {17}, "lost its leaf"),
    "a leaf and its row deleted": (
        [f"DELETE FROM audit_rows WHERE id = {ROW % 17}", "DELETE FROM seal_leaves WHERE leaf = 17"],
        17,
        set(),
        "was deleted",
    ),
    "a node of the tree": (
        [r"UPDATE seal_leaves SET nodes = overlay(nodes PLACING '\xffff' FROM 60) WHERE leaf = 23"],
        22,
        {22},
        "to leaf 23",
    ),
    "a node higher in the tree": (
        [r"UPDATE seal_leaves SET nodes = overlay(nodes PLACING '\xffff' FROM 125) WHERE leaf = 23"],
        16,
        {16},
        "to leaf 23",
    ),
    "the end of rows and leaves": ([CUT, "DELETE FROM seal_leaves WHERE leaf >= 33"], 33, set(), "was deleted"),
    "the last head": (["DELETE FROM seal_heads WHERE number = 7"], 35, {35}, "beyond the last head"),
    "all heads": (["TRUNCATE seal_heads"], 0, {0}, "beyond the last head"),
    "a head": (["DELETE FROM seal_heads WHERE number = 3"], None, set(), "head 3 was deleted"),
    "the first head": (["DELETE FROM seal_heads WHERE number = 0"], None, set(), "head 0 was deleted"),
    "a head's size": (["UPDATE seal_heads SET size = 19 WHERE number = 3"], None, set(), "head 3 is no head of its"),
    "a head's words": (["UPDATE seal_heads SET note = 'x' || note WHERE number = 3"], None, set(), "head 3 is of an"),
    "a head's form": (["UPDATE seal_heads SET note = 'x ' || note WHERE number = 3"], None, set(), "head 3 is no head"),
    "a head's time": (
        ["UPDATE seal_heads SET note = replace(note, 'sealed_at 20', 'sealed_at 19') WHERE number = 3"],
        None,
        set(),
        "head 3 is not signed by a key of ours: bad_signature",
    ),
    "the last head's signature": (
        ["UPDATE seal_heads SET note = split_part(note, '—', 1) || '— x/audit AAAAAAAA' || chr(10) WHERE number = 7"],
        None,
        set(),
        "head 7 is not signed by a key of ours: unknown_key",
    ),
}


@pytest.mark.parametrize("name", TAMPERING)
async def test_tampering_is_found(log: Sealed, name: str) -> None:
    statements, leaf, leaves, what = TAMPERING[name]
    rows = {str(await log.row_id(each)) for each in leaves} or {None}
    await log.tamper(*statements)
    found = await log.wrong()
    assert found.leaf == leaf
    assert found.row in rows
    assert what in found.what


async def test_the_first_of_several_faults_is_named(log: Sealed) -> None:
    row = await log.row_id(8)
    await log.tamper(
        "DELETE FROM seal_heads WHERE number = 6",
        "DELETE FROM seal_leaves WHERE leaf = 20",
        f"DELETE FROM audit_rows WHERE id = {ROW % 9}",
        f"UPDATE audit_rows SET outcome = 'denied' WHERE id = {ROW % 8}",
    )
    found = await log.wrong()
    assert (found.leaf, found.row) == (8, str(row))


FORGED = f"""
INSERT INTO audit_rows
SELECT gen_random_uuid(), at, tenant_id, actor, action, 'lse_forged', outcome, request_id, detail, xid
FROM audit_rows WHERE id = {ROW % 17}"""
LEAF_BELOW_ALL = "INSERT INTO seal_leaves SELECT 'audit', -1, id, '' FROM audit_rows WHERE resource = 'lse_forged'"


@pytest.mark.parametrize(("statements", "leaf"), [([FORGED], None), ([FORGED, LEAF_BELOW_ALL], -1)])
async def test_a_row_put_in_later_is_found(log: Sealed, statements: list[str], leaf: int | None) -> None:
    """It claims to be as old as row 17, but it was not there when later rows were sealed."""
    await log.tamper(*statements)
    forged = await log.raw.fetchval("SELECT id FROM audit_rows WHERE resource = 'lse_forged'")
    found = await log.wrong()
    assert (found.leaf, found.row) == (leaf, str(AUDIT.ids.of(forged)))
    assert "put in later" in found.what


async def test_a_head_signed_anew_with_our_own_key_is_found(log: Sealed) -> None:
    """Only its time differs: the next head still names the one that was there."""
    old = head_of(await log.note(3))
    anew = Signer(old.origin, KEY).sign(replace(old, sealed_at=old.sealed_at + timedelta(hours=1)))
    await log.tamper(f"UPDATE seal_heads SET note = '{anew}' WHERE number = 3")
    assert "head 4 does not follow on head 3" in (await log.wrong()).what


async def test_a_head_with_another_root_is_found(log: Sealed) -> None:
    """Signed with our own key, at the end of the chain; so are the rows under it named."""
    old = head_of(await log.note(7))
    anew = Signer(old.origin, KEY).sign(replace(old, root=bytes(32)))
    await log.tamper(f"UPDATE seal_heads SET note = '{anew}' WHERE number = 7")
    found = await log.wrong()
    assert (found.leaf, found.row) == (35, str(await log.row_id(35)))
    assert "the stored head of size 40" in found.what


REWRITE = ("TRUNCATE seal_leaves, seal_heads",)  # our own sealer then writes tree and heads anew


async def rewritten(log: Sealed, *statements: str) -> None:
    """Rows, leaves and heads, all consistent: by somebody who has the database and the signing key."""
    await log.tamper(*statements, *REWRITE)
    while await log.seal(batch=PER_HEAD):
        pass


async def test_a_rewrite_of_everything_shows_only_against_an_exported_head(log: Sealed) -> None:
    kept = [await log.note(4), await log.note(7)]
    first = await log.row_id(0)
    await rewritten(log, f"UPDATE audit_rows SET outcome = 'denied' WHERE id = {ROW % 3}")
    assert (await log.sound()).leaves == SIZE + UNSEALED
    for heads in (kept, kept[:1], kept[1:]):
        found = await log.wrong(*heads)
        assert (found.leaf, found.row) == (0, str(first))
        assert "rewritten together with the tree" in found.what


async def test_heads_that_still_agree_narrow_a_rewrite_down(log: Sealed) -> None:
    kept = [await log.note(4), await log.note(7)]
    row = await log.row_id(25)
    await rewritten(log, f"UPDATE audit_rows SET outcome = 'denied' WHERE id = {ROW % 30}")
    found = await log.wrong(*kept)
    assert (found.leaf, found.row) == (25, str(row))
    assert "to leaf 39" in found.what


async def test_a_rewrite_with_another_key_is_found_without_more(log: Sealed) -> None:
    await log.tamper(f"UPDATE audit_rows SET outcome = 'denied' WHERE id = {ROW % 3}", *REWRITE)
    await log.seal(STRANGE_KEY)
    assert "not signed by a key of ours: unknown_key" in (await log.wrong()).what


async def test_an_end_cut_off_cleanly_shows_only_against_an_exported_head(log: Sealed) -> None:
    kept = await log.note(7)
    cut = ("DELETE FROM seal_leaves WHERE leaf >= 35", "DELETE FROM seal_heads WHERE number = 7")
    await log.tamper("DELETE FROM audit_rows WHERE id IN (SELECT row_id FROM seal_leaves WHERE leaf >= 35)", *cut)
    assert (await log.sound()).leaves == 35
    found = await log.wrong(kept)
    assert (found.leaf, found.row) == (35, None)
    assert "vouches for 40: it was truncated" in found.what


async def test_sealing_the_same_rows_anew_does_not_bring_back_the_heads(log: Sealed) -> None:
    """Rows keep their order, so the roots are the old ones; but the heads that were given out are gone."""
    kept = await log.note(5)
    await rewritten(log)
    assert head_of(await log.note(5)).root == head_of(kept).root
    assert "no more among the log's" in (await log.wrong(kept)).what


async def test_it_may_run_while_rows_are_written_and_sealed(log: Sealed) -> None:
    for _ in range(5):
        await log.write(7)
        _, found = await asyncio.gather(log.seal(batch=3), log.sound())
        assert found.leaves >= SIZE


async def test_progress_is_told_to_the_end(log: Sealed) -> None:
    told: list[tuple[int, int]] = []
    await verify(log.db, AUDIT, [public(KEY)], [], lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert told[-1] == (SIZE, SIZE)
