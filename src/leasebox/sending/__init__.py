"""Mail going out: drafts, the queue and its transport, submission by SMTP, bounces, suppressions, the cooldown."""
