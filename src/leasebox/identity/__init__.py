"""Who calls: tenants, agents, wallets, sign-in by EIP-4361, sessions, API keys."""
