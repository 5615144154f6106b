"""Meters, prices, allowances, payment proofs, ledger, invoices: pay-per-use that both sides can check."""
