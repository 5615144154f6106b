"""Refusals of webhooks."""

from leasebox.values.errors import Conflict, Unprocessable


class TargetRefused(Unprocessable):
    """422: the URL is none that we call."""

    fix = "Give an absolute http or https URL with a public host, without user, fragment or blanks."


class SecretRefused(Unprocessable):
    """422: the secret is none by Standard Webhooks."""

    reason = "secret_refused"
    fix = "Send whsec_ and the base64 of 24 to 64 random bytes, or leave secret out to have one made."


class TooManyWebhooks(Conflict):
    """409: the tenant has as many endpoints as it may have."""

    reason = "too_many_webhooks"
    fix = "Delete a webhook that you no longer need; one may have many event types and mailboxes."


class WebhookDisabled(Conflict):
    """409: nothing is sent to a disabled endpoint."""

    reason = "webhook_disabled"
    fix = "Enable it first: PATCH /v2/webhooks/{webhook_id} with status enabled."


class DisabledByOperator(WebhookDisabled):
    """409: the operator has disabled the endpoint."""

    reason = "disabled_by_operator"
    fix = "Ask the operator, who alone can enable it again (POST /v2/admin/webhooks/{webhook_id}/enable)."


class OneMailboxOnly(Unprocessable):
    """422: a mailbox's `webhook_url` tells of that mailbox's mail only."""

    reason = "one_mailbox_only"
    fix = "Make a webhook for it, POST /v2/webhooks; this one tells of its mailbox's message events only."


class TooManySecrets(Conflict):
    """409: several old secrets are good still."""

    reason = "too_many_secrets"
    fix = "Wait until an older secret has expired, 24 hours after it was replaced."


class ReplayTooLarge(Unprocessable):
    """422: the window holds more than one call replays."""

    reason = "replay_too_large"
    fix = "Replay a shorter window, and the rest after it."
