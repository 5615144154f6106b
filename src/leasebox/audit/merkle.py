"""Merkle trees of RFC 6962 §2.1 (= RFC 9162 §2.1) over SHA-256: roots, proofs, and growth without rehashing.

Whoever keeps the hashes of *perfect* nodes (complete subtrees; they never change) can answer every proof with about
log2(size) reads: `grow` tells which ones a batch adds, the provers ask for them through a `NodeAt`. Verifiers are
total: whatever they are given, they answer True or False.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

HASH_BYTES = 32
MOST_LEAVES = 2**63 - 1  # tree sizes are bigint columns
EMPTY_ROOT = hashlib.sha256(b"").digest()

NodeAt = Callable[[int, int], bytes]
"""Answers the hash of the perfect node at (level, index): it covers leaves [index·2^level, (index+1)·2^level)."""

Proof = tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Node:
    """A perfect node: level 0 is a leaf."""

    level: int
    index: int
    hash: bytes


class BadTree(ValueError):
    """An index, size or stored frontier that no tree has. A mistake of ours, never of a proof's sender."""


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 ‖ entry), RFC 6962 §2.1."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 ‖ left ‖ right), RFC 6962 §2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is needed to go on appending: the roots of the perfect subtrees, largest first, one per set bit of size.

    Raises BadTree if nodes do not fit the size, as after a damaged row.
    """

    size: int = 0
    nodes: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        fits = 0 <= self.size <= MOST_LEAVES and self.size.bit_count() == len(self.nodes)
        if not fits or not _all_hashes(self.nodes):
            raise BadTree(f"no frontier of size {self.size}")

    def root(self) -> bytes:
        """The Merkle tree hash of everything appended so far; of nothing, SHA-256 of the empty string."""
        return _fold(self.nodes)


class Growth(NamedTuple):
    """What a batch did: the new frontier, and every perfect node that it completed, leaves included."""

    frontier: Frontier
    nodes: list[Node]


def grow(frontier: Frontier, leaves: Iterable[bytes]) -> Growth:
    """Append leaf hashes in order; about one hash per leaf, however large the tree already is.

    Raises BadTree for what is no leaf hash.
    """
    size, stack, added = frontier.size, list(frontier.nodes), list[Node]()
    for leaf in leaves:
        _demand(_all_hashes((leaf,)), "a leaf is appended by its hash")
        node = Node(0, size, leaf)
        added.append(node)
        while node.index & 1:  # its left sibling is the top of the stack: together they complete their parent
            node = Node(node.level + 1, node.index >> 1, node_hash(stack.pop(), node.hash))
            added.append(node)
        stack.append(node.hash)
        size += 1
    return Growth(Frontier(size, tuple(stack)), added)


def stacked(nodes: Iterable[Node]) -> list[bytes]:
    """What `grow` added, leaf by leaf: each leaf's hash and those of the nodes that it completed, upwards, in one."""
    stacks: list[list[bytes]] = []
    for node in nodes:
        if node.level == 0:
            stacks.append([])
        stacks[-1].append(node.hash)
    return [b"".join(stack) for stack in stacks]


def perfect_subtrees(size: int) -> list[tuple[int, int]]:
    """(level, index) of each node in the frontier of a tree of this size, largest first."""
    return [(level, (size >> level) - 1) for level in reversed(range(size.bit_length())) if size >> level & 1]


def root_of(leaves: Iterable[bytes]) -> bytes:
    """The Merkle tree hash of these leaf hashes (RFC 6962 §2.1)."""
    return grow(Frontier(), leaves).frontier.root()


def in_memory(leaves: Sequence[bytes]) -> NodeAt:
    """A NodeAt over leaf hashes held in memory; each node is hashed once, here."""
    nodes = {(node.level, node.index): node.hash for node in grow(Frontier(), leaves).nodes}
    return lambda level, index: nodes[level, index]


def root_at(node_at: NodeAt, size: int) -> bytes:
    """The root that the tree had at a size (or has). Raises BadTree, and what node_at raises."""
    _demand(0 <= size <= MOST_LEAVES, f"no tree of {size}")
    return _range_hash(node_at, 0, size)


def prove_inclusion(node_at: NodeAt, index: int, size: int) -> Proof:
    """The audit path of leaf `index` in the tree of `size` leaves (RFC 6962 §2.1.1), leaf's sibling first.

    Raises BadTree unless 0 <= index < size, and what node_at raises.
    """
    _demand(0 <= index < size <= MOST_LEAVES, f"no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        split = begin + _split(end - begin)
        inside, outside = ((begin, split), (split, end)) if index < split else ((split, end), (begin, split))
        path.append(_range_hash(node_at, *outside))
        begin, end = inside
    return tuple(reversed(path))


def prove_consistency(node_at: NodeAt, old: int, new: int) -> Proof:
    """That the tree of `new` leaves begins with the tree of `old` ones (RFC 6962 §2.1.2).

    Raises BadTree unless 1 <= old <= new, and what node_at raises.
    """
    _demand(1 <= old <= new <= MOST_LEAVES, f"no consistency of {old} with {new}")
    path: list[bytes] = []
    begin, end = 0, new
    while end != old:
        split = begin + _split(end - begin)
        if old <= split:
            path.append(_range_hash(node_at, split, end))
            end = split
        else:
            path.append(_range_hash(node_at, begin, split))
            begin = split
    if begin:  # the old tree's own root is known to the verifier, a part of it is not
        path.append(_range_hash(node_at, begin, end))
    return tuple(reversed(path))


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether the leaf hash is the tree's leaf number `index` (RFC 9162 §2.1.3.2). Never raises."""
    if not 0 <= index < size <= MOST_LEAVES or not _all_hashes((leaf, root, *proof)):
        return False
    place, last, seen = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            seen = node_hash(sibling, seen)
            place, last = _up_to_right_child(place, last)
        else:
            seen = node_hash(seen, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and seen == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree of `new` leaves begins with that of `old` leaves (RFC 9162 §2.1.4.2). Never raises.

    An old tree of no leaves proves nothing and is False; equal sizes need equal roots and an empty proof.
    """
    if not 1 <= old <= new <= MOST_LEAVES:
        return False
    if old == new:
        return not proof and old_root == new_root
    if not proof or not _all_hashes((old_root, new_root, *proof)):
        return False
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    place, last = _up_while_right(old - 1, new - 1)
    seen_old = seen_new = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            seen_old, seen_new = node_hash(sibling, seen_old), node_hash(sibling, seen_new)
            place, last = _up_to_right_child(place, last)
        else:
            seen_new = node_hash(seen_new, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and seen_old == old_root and seen_new == new_root


def _up_to_right_child(place: int, last: int) -> tuple[int, int]:
    """Skip the levels at which a lone last node has no sibling and is passed up unchanged."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _up_while_right(place: int, last: int) -> tuple[int, int]:
    """Climb from the old tree's last leaf to the largest perfect subtree that ends with it."""
    while place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def _range_hash(node_at: NodeAt, begin: int, end: int) -> bytes:
    """The hash of leaves [begin, end); begin is a multiple of the least power of two that covers them."""
    parts = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        parts.append(node_at(level, begin >> level))
        begin += 1 << level
    return _fold(parts)


def _fold(perfect: Sequence[bytes]) -> bytes:
    """The root over perfect subtrees that stand side by side, largest first."""
    if not perfect:
        return EMPTY_ROOT
    root = perfect[-1]
    for left in reversed(perfect[:-1]):
        root = node_hash(left, root)
    return root


def _split(width: int) -> int:
    """The largest power of two below a width of at least 2."""
    return 1 << ((width - 1).bit_length() - 1)


def _all_hashes(values: Iterable[object]) -> bool:
    return all(isinstance(value, bytes) and len(value) == HASH_BYTES for value in values)


def _demand(holds: object, otherwise: str) -> None:
    if not holds:
        raise BadTree(otherwise)
