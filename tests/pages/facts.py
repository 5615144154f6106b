"""An instance for the pages to tell of."""

from leasebox.pages.guide_facts import GuideFacts
from leasebox.values.rate import Rate

FACTS = GuideFacts(
    base_url="https://box.example",
    mail_domains=("inbox.example", "post.example"),
    chain_id=84532,
    chain_name="Base Sepolia",
    smtp_host="mx.box.example",
    smtp_port=25,
    submission_host="mx.box.example",
    submission_port=587,
    version="1.2.3",
    api_rate=Rate(120, 1),
    signin_rate=Rate(60, 60),
    tenant_rate=Rate(20, 3600),
    max_ttl_hours=720,
    retention_hours=72,
    name_hold_days=90,
    lease_quota_mib=100,
    lease_quota_mails=1000,
    max_mail_mib=25,
)
