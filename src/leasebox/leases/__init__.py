"""Mailboxes and the timed right to them."""
