"""Mail going out: how much a tenant without a wallet may send."""
