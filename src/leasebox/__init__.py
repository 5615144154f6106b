"""leasebox: real, disposable mailboxes leased to agents that sign in with a wallet."""

__version__ = "0.1.0"
