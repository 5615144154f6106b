"""Refusals of reading."""

from leasebox.values.errors import NotFound


class MessageGone(NotFound):
    fix = "The message was deleted meanwhile; list the mailbox again."
