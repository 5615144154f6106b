"""The catalogue of public facts: what can happen, under which name."""

MESSAGE_RECEIVED = "message.received"
OTP_EXTRACTED = "otp.extracted"
USAGE_DENIED = "usage.denied"
INVOICE_ISSUED = "invoice.issued"
INVOICE_PAID = "invoice.paid"
