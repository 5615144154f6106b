"""Webhooks: endpoints that tenants name, and the deliveries of public facts to them."""
