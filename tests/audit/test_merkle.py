"""Merkle trees against vectors written by others, a slow second writing, and every flipped bit."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leasebox.audit.merkle import (
    EMPTY_ROOT,
    HASH_BYTES,
    MOST_LEAVES,
    BadTree,
    Frontier,
    grow,
    in_memory,
    leaf_hash,
    node_hash,
    perfect_subtrees,
    prove_consistency,
    prove_inclusion,
    root_at,
    root_of,
    stacked,
    verify_consistency,
    verify_inclusion,
)

SHARED = Path(__file__).parents[2].parent / "shared" / "vectors" / "merkle"
MOST = 64
LEAVES = [leaf_hash(bytes([number])) for number in range(MOST)]
NODES = in_memory(LEAVES)
ROOTS = [root_of(LEAVES[:size]) for size in range(MOST + 1)]

# Roots over the eight leaves that Certificate Transparency's own tests use.
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def _vectors(kind: str) -> list[Any]:
    files = sorted((SHARED / kind).rglob("*.json"))
    if not files:
        return [pytest.param({}, marks=pytest.mark.skip(reason="shared/vectors/merkle absent"))]
    return [pytest.param(json.loads(file.read_text()), id=str(file.relative_to(SHARED))) for file in files]


def _bytes(vector: dict[str, Any], name: str) -> Any:
    value = vector[name]
    return [base64.b64decode(each) for each in value or []] if name == "proof" else base64.b64decode(value)


@pytest.mark.parametrize("vector", _vectors("inclusion"))
def test_inclusion_vectors(vector: dict[str, Any]) -> None:
    leaf, proof, root = (_bytes(vector, name) for name in ("leafHash", "proof", "root"))
    assert verify_inclusion(leaf, vector["leafIdx"], vector["treeSize"], proof, root) is not vector["wantErr"]


@pytest.mark.parametrize("vector", _vectors("consistency"))
def test_consistency_vectors(vector: dict[str, Any]) -> None:
    root1, root2, proof = (_bytes(vector, name) for name in ("root1", "root2", "proof"))
    assert verify_consistency(vector["size1"], vector["size2"], root1, root2, proof) is not vector["wantErr"]


@pytest.mark.parametrize("size", range(9))
def test_roots_are_certificate_transparencys(size: int) -> None:
    leaves = [leaf_hash(bytes.fromhex(entry)) for entry in CT_LEAVES[:size]]
    assert root_of(leaves).hex() == CT_ROOTS[size]


def _slow_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 §2.1, word for word."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return leaves[0]
    k = max(2**power for power in range(8) if 2**power < len(leaves))
    return hashlib.sha256(b"\x01" + _slow_root(leaves[:k]) + _slow_root(leaves[k:])).digest()


def _slow_path(index: int, leaves: list[bytes]) -> list[bytes]:
    """RFC 6962 §2.1.1, word for word."""
    if len(leaves) == 1:
        return []
    k = max(2**power for power in range(8) if 2**power < len(leaves))
    if index < k:
        return [*_slow_path(index, leaves[:k]), _slow_root(leaves[k:])]
    return [*_slow_path(index - k, leaves[k:]), _slow_root(leaves[:k])]


def _slow_subproof(old: int, leaves: list[bytes], whole: int) -> list[bytes]:
    """RFC 6962 §2.1.2, word for word; whole is the width at which the old root is known."""
    if old == len(leaves):
        return [] if whole == old else [_slow_root(leaves)]
    k = max(2**power for power in range(8) if 2**power < len(leaves))
    if old <= k:
        return [*_slow_subproof(old, leaves[:k], whole), _slow_root(leaves[k:])]
    return [*_slow_subproof(old - k, leaves[k:], 0), _slow_root(leaves[:k])]


@pytest.mark.parametrize("size", range(MOST + 1))
def test_every_proof_of_a_size_is_the_rfcs_and_verifies(size: int) -> None:
    leaves = LEAVES[:size]
    assert ROOTS[size] == _slow_root(leaves) == root_at(NODES, size)
    for index in range(size):
        path = prove_inclusion(NODES, index, size)
        assert list(path) == _slow_path(index, leaves)
        assert verify_inclusion(LEAVES[index], index, size, path, ROOTS[size])
    for old in range(1, size + 1):
        proof = prove_consistency(NODES, old, size)
        assert list(proof) == _slow_subproof(old, leaves, old)
        assert verify_consistency(old, size, ROOTS[old], ROOTS[size], proof)


def _flip(blob: bytes, bit: int) -> bytes:
    changed = bytearray(blob)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@st.composite
def _inclusions(draw: st.DrawFn) -> tuple[int, int]:
    size = draw(st.integers(1, MOST))
    return draw(st.integers(0, size - 1)), size


@given(_inclusions(), st.integers(0, 8 * HASH_BYTES - 1), st.integers(0, MOST), st.integers(0, MOST))
@settings(max_examples=300)
def test_an_inclusion_proof_bears_no_change(place: tuple[int, int], bit: int, other: int, other_size: int) -> None:
    index, size = place
    path, root = prove_inclusion(NODES, index, size), ROOTS[size]
    assert not verify_inclusion(_flip(LEAVES[index], bit), index, size, path, root)
    assert not verify_inclusion(LEAVES[index], index, size, path, _flip(root, bit))
    for at, part in enumerate(path):
        changed = (*path[:at], _flip(part, bit), *path[at + 1 :])
        assert not verify_inclusion(LEAVES[index], index, size, changed, root)
        assert not verify_inclusion(LEAVES[index], index, size, (*path[:at], *path[at + 1 :]), root)
        assert not verify_inclusion(LEAVES[index], index, size, (*path[: at + 1], part, *path[at + 1 :]), root)
    for longer in ((*path, root), (root, *path)):
        assert not verify_inclusion(LEAVES[index], index, size, longer, root)
    if other != index:
        assert not verify_inclusion(LEAVES[index], other, size, path, root)
    if other_size != size:
        assert not verify_inclusion(LEAVES[index], index, size, path, ROOTS[other_size])


@given(st.integers(1, MOST), st.integers(1, MOST), st.integers(0, 8 * HASH_BYTES - 1))
@settings(max_examples=300)
def test_a_consistency_proof_bears_no_change(one: int, another: int, bit: int) -> None:
    old, new = sorted((one, another))
    proof, old_root, new_root = prove_consistency(NODES, old, new), ROOTS[old], ROOTS[new]
    assert not verify_consistency(old, new, _flip(old_root, bit), new_root, proof)
    assert not verify_consistency(old, new, old_root, _flip(new_root, bit), proof)
    for at, part in enumerate(proof):
        changed = (*proof[:at], _flip(part, bit), *proof[at + 1 :])
        assert not verify_consistency(old, new, old_root, new_root, changed)
        assert not verify_consistency(old, new, old_root, new_root, (*proof[:at], *proof[at + 1 :]))
    assert not verify_consistency(old, new, old_root, new_root, (*proof, new_root))
    assert not verify_consistency(old, new, old_root, new_root, (old_root, *proof))
    if old < new:
        assert not verify_consistency(old, new, new_root, old_root, proof)
        assert not verify_consistency(new, old, new_root, old_root, proof)


@given(
    st.integers(-1, 2**70),
    st.integers(-1, 2**70),
    st.lists(st.binary(min_size=32, max_size=32) | st.binary(max_size=40), max_size=80),
    st.binary(max_size=40),
)
def test_verifiers_answer_anything(one: int, another: int, proof: list[bytes], root: bytes) -> None:
    assert verify_inclusion(root, one, another, proof, root) in {True, False}
    assert verify_consistency(one, another, root, root, proof) in {True, False}


@pytest.mark.parametrize("junk", ["text", None, 5, bytearray(32), b"short", b"x" * 33])
def test_what_is_no_hash_proves_nothing(junk: Any) -> None:
    path = prove_inclusion(NODES, 2, 5)
    assert not verify_inclusion(LEAVES[2], 2, 5, [*path[:-1], junk], ROOTS[5])
    assert not verify_inclusion(junk, 2, 5, path, ROOTS[5])
    assert not verify_consistency(3, 5, ROOTS[3], ROOTS[5], [junk, *prove_consistency(NODES, 3, 5)[1:]])


@pytest.mark.parametrize("old", range(1, 8))
def test_an_empty_proof_proves_only_the_same_size(old: int) -> None:
    assert verify_consistency(old, old, ROOTS[old], ROOTS[old], ())
    assert not verify_consistency(old, 8, ROOTS[old], ROOTS[8], ())
    assert not verify_consistency(old, 8, ROOTS[old], ROOTS[old], ())


def test_a_size_is_not_taken_on_trust() -> None:
    """Roots and path fit a smaller tree than the one that is claimed."""
    assert verify_inclusion(LEAVES[0], 0, 2, (LEAVES[1],), ROOTS[2])
    assert not verify_inclusion(LEAVES[0], 0, 4, (LEAVES[1],), ROOTS[2])
    assert not verify_inclusion(LEAVES[0], 0, 2, (), LEAVES[0])
    assert verify_consistency(1, 2, ROOTS[1], ROOTS[2], (LEAVES[1],))
    assert not verify_consistency(1, 4, ROOTS[1], ROOTS[2], (LEAVES[1],))


def test_a_leaf_is_no_node() -> None:
    """The second-preimage trick: two leaf hashes offered as one entry (RFC 6962 §2.1)."""
    forged = leaf_hash(LEAVES[0] + LEAVES[1])
    assert forged != node_hash(LEAVES[0], LEAVES[1])
    assert not verify_inclusion(forged, 0, 1, (), ROOTS[2])


@given(st.lists(st.integers(0, 9), max_size=12))
def test_batches_grow_the_same_tree(batches: list[int]) -> None:
    frontier, kept = Frontier(), dict[tuple[int, int], bytes]()
    for count in batches:
        frontier, nodes = grow(frontier, LEAVES[frontier.size : frontier.size + count])
        assert not kept.keys() & {(node.level, node.index) for node in nodes}
        kept |= {(node.level, node.index): node.hash for node in nodes}
        assert frontier.root() == ROOTS[frontier.size]
    assert kept == {place: NODES(*place) for place in _perfect(frontier.size)}


def _perfect(size: int) -> list[tuple[int, int]]:
    return [(level, index) for level in range(8) for index in range(size >> level)]


def test_growing_completes_two_nodes_a_leaf_however_large_the_tree() -> None:
    large = 2**40 + 2**20 + 5
    frontier = Frontier(large, tuple(leaf_hash(bytes([bit])) for bit in range(large.bit_count())))
    frontier, nodes = grow(frontier, LEAVES)
    assert frontier.size == large + MOST
    assert len(nodes) < 2 * MOST + 7


def test_a_proof_reads_few_nodes() -> None:
    asked: list[tuple[int, int]] = []

    def spying(level: int, index: int) -> bytes:
        asked.append((level, index))
        return NODES(level, index)

    prove_inclusion(spying, 13, 63)
    prove_consistency(spying, 21, 63)
    assert len(asked) <= 24
    assert set(asked) <= set(_perfect(63))


@pytest.mark.parametrize(
    ("size", "nodes"),
    [
        (-1, ()),
        (1, ()),
        (0, (LEAVES[0],)),
        (3, (LEAVES[0],)),
        (4, (LEAVES[0], LEAVES[1])),
        (1, (b"short",)),
        (MOST_LEAVES + 1, (LEAVES[0],)),
    ],
)
def test_a_damaged_frontier_is_refused(size: int, nodes: tuple[bytes, ...]) -> None:
    with pytest.raises(BadTree):
        Frontier(size, nodes)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_leaves_must_be_hashes(count: int) -> None:
    with pytest.raises(BadTree):
        grow(Frontier(), [b"an entry, not its hash"] * count)


@pytest.mark.parametrize(("index", "size"), [(0, 0), (5, 5), (-1, 5), (6, 5)])
def test_no_proof_of_what_is_not_there(index: int, size: int) -> None:
    with pytest.raises(BadTree):
        prove_inclusion(NODES, index, size)


@pytest.mark.parametrize(("old", "new"), [(0, 5), (6, 5), (-1, 5), (0, 0)])
def test_no_consistency_of_what_did_not_grow(old: int, new: int) -> None:
    with pytest.raises(BadTree):
        prove_consistency(NODES, old, new)


def test_the_root_of_nothing() -> None:
    assert Frontier().root() == root_at(NODES, 0) == root_of([]) == EMPTY_ROOT == hashlib.sha256().digest()


def test_a_leafs_stack_holds_the_nodes_that_it_completes() -> None:
    stacks = stacked(grow(grow(Frontier(), LEAVES[:5]).frontier, LEAVES[5:20]).nodes)
    for number, stack in enumerate(stacks, 5):
        levels = ((number + 1) & -(number + 1)).bit_length()
        assert stack == b"".join(NODES(level, number >> level) for level in range(levels))


@pytest.mark.parametrize("size", range(MOST + 1))
def test_perfect_subtrees_are_the_frontier(size: int) -> None:
    nodes = tuple(NODES(level, index) for level, index in perfect_subtrees(size))
    assert Frontier(size, nodes).root() == ROOTS[size]
