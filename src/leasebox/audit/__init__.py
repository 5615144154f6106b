"""Append-only log of who did what, sealed into a Merkle tree whose signed heads leave the house."""
