"""The rows that `growth_fill` writes, as SQL: what is planned first, then each table's rows from the plan."""

TENANTS, KINDS = 1_000, 2_000

FILL_ID = """
CREATE FUNCTION fill_id(at timestamptz, salt text) RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
SELECT (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(salt), 1, 3) || '9'
    || substr(md5(salt), 5, 15))::uuid
$$
"""
OTHER_TENANTS = f"""
INSERT INTO fill_tenants
SELECT n, fill_id(now() - interval '40 days', 'tenant' || n), fill_id(now() - interval '40 days', 'agent' || n)
FROM generate_series(1, {TENANTS} - 1) AS n;
INSERT INTO tenants (id, status, created_at)
SELECT id, 'active', now() - interval '40 days' FROM fill_tenants WHERE n > 0;
INSERT INTO agents (id, tenant_id, name, status, created_at)
SELECT agent_id, id, 'agent ' || n, 'active', now() - interval '40 days' FROM fill_tenants WHERE n > 0
"""
KIND_COLUMNS = ("n", "domain", "sender", "sender_name", "subject", "body", "is_code")
KIND_TABLE = """
CREATE UNLOGGED TABLE fill_kinds (
    n int PRIMARY KEY, domain text, sender text, sender_name text, subject text, body text, is_code boolean,
    search tsvector
)
"""
# Ended ones over the last thirty days, the first of them just now; live ones for a day more at least.
LEASE_PLAN = """
CREATE UNLOGGED TABLE fill_leases AS
SELECT planned.n, is_ended, is_ended AND ended_for > interval '71 hours' AS is_purged, t.id AS tenant_id, t.agent_id,
    started_at, expires_at,
    fill_id(started_at, 'box' || planned.n) AS mailbox_id, fill_id(started_at, 'lease' || planned.n) AS lease_id,
    'b-' || planned.n || '-' || substr(md5(planned.n::text), 1, 4) || '@inbox.leasebox.test' AS address,
    CASE WHEN is_ended AND ended_for > interval '71 hours' THEN 0
         ELSE least(900, round(-ln(1 - random()) * CASE WHEN is_ended THEN {of_ended:.3f} ELSE {of_live:.3f} END))::int
    END AS mails
FROM (
    SELECT n, is_ended, ended_for, span,
        CASE WHEN is_ended THEN now() - ended_for - span ELSE now() - span END AS started_at,
        CASE WHEN is_ended THEN now() - ended_for ELSE now() + interval '25 hours' + random() * interval '14 days' END
            AS expires_at
    FROM (
        SELECT n, n <= {ended} AS is_ended, interval '30 days' * n / {ended} AS ended_for,
            interval '1 hour' + power(random(), 2) * interval '14 days' AS span
        FROM generate_series(1, {ended} + {live}) AS n
    ) AS times
) AS planned JOIN fill_tenants t ON t.n = floor({tenants} * power(('x' || substr(md5('t' || planned.n), 1, 7))::bit(28)
    ::int / 268435456.0::float8, 2.5))
"""
MAIL_PLAN = f"""
CREATE UNLOGGED TABLE fill_mails AS
SELECT row_number() OVER (ORDER BY at) AS n, lease_n, k, at, kind FROM (
    SELECT n AS lease_n, k::int AS k,
        started_at + (least(expires_at, now()) - started_at) * ((k - 0.5) / mails) AS at,
        (n * 7 + k * 13) % {KINDS} AS kind
    FROM fill_leases CROSS JOIN LATERAL generate_series(1, mails) AS k
) AS planned ORDER BY at
"""
OF_LEASES = {
    "mailboxes": """
        INSERT INTO mailboxes (id, tenant_id, address, domain, origin, metadata, uid_validity, next_uid, next_seq,
            created_at)
        SELECT mailbox_id, tenant_id, address, 'inbox.leasebox.test', 'generated', '{}',
            extract(epoch FROM started_at)::bigint, mails + 1, mails + 1, started_at
        FROM fill_leases ORDER BY started_at
    """,
    "leases": """
        INSERT INTO leases (id, tenant_id, mailbox_id, agent_id, purpose, metadata, state, started_at, expires_at,
            released_at, password_hash, password_set_at, used_bytes, used_messages, purged_at, tell_at)
        SELECT lease_id, tenant_id, mailbox_id, agent_id, 'signup', '{}',
            CASE WHEN is_ended AND n % 2 = 0 THEN 'released' ELSE 'active' END, started_at, expires_at,
            CASE WHEN is_ended AND n % 2 = 0 THEN expires_at END,
            '$argon2id$v=19$m=64,t=1,p=1$' || md5(n::text) || '$' || md5(n::text), started_at, mails * 700, mails,
            CASE WHEN is_purged THEN expires_at + interval '72 hours' END,
            CASE WHEN NOT is_ended THEN expires_at - interval '5 minutes' END
        FROM fill_leases ORDER BY started_at
    """,
    "addresses": """
        INSERT INTO addresses SELECT address, tenant_id, mailbox_id, lease_id, 'generated', expires_at,
            expires_at + interval '90 days' FROM fill_leases ORDER BY started_at
    """,
    "audit": """
        INSERT INTO audit_rows (id, at, tenant_id, actor, action, resource, outcome, request_id, detail)
        SELECT fill_id(at, action || n), at, tenant_id, 'agt_' || substr(md5(agent_id::text), 1, 26), action,
            'lse_' || substr(md5(n::text), 1, 26), 'done', 'req_' || substr(md5(n::text), 1, 24), '{}'
        FROM fill_leases CROSS JOIN LATERAL (
            SELECT started_at AS at, 'lease.grant' AS action
            UNION ALL SELECT expires_at, 'lease.release' WHERE is_ended AND n % 2 = 0
        ) AS acts ORDER BY at
    """,
    "usage": """
        INSERT INTO usage_events (id, tenant_id, agent_id, credential_id, method, path, meter, price_version,
            unit_price_micros, free_quantity, paid_quantity, amount_micros, request_id, occurred_at)
        SELECT fill_id(started_at, 'use' || n), tenant_id, agent_id, agent_id, 'POST', '/v2/mailboxes/leases',
            'mailbox.lease', 1, 1000, 1, 0, 0, 'req_' || substr(md5(n::text), 1, 24), started_at
        FROM fill_leases ORDER BY started_at
    """,
    "facts of leases": """
        WITH ends AS (
            INSERT INTO facts (id, tenant_id, mailbox_id, lease_id, type, payload, at)
            SELECT fill_id(expires_at, 'end' || n), tenant_id, mailbox_id, lease_id,
                CASE WHEN n % 2 = 0 THEN 'lease.released' ELSE 'lease.expired' END,
                jsonb_build_object('lease_id', 'lse_' || substr(md5('l' || n), 1, 26), 'mailbox_id',
                    'mbx_' || substr(md5('m' || n), 1, 26), 'expires_at', expires_at::text), expires_at
            FROM fill_leases WHERE is_ended ORDER BY expires_at RETURNING id, tenant_id
        )
        INSERT INTO fact_positions (position, fact_id, tenant_id)
        SELECT next_position + row_number() OVER (ORDER BY id), id, tenant_id FROM ends, fact_sequence
    """,
}
_FROM = """
FROM fill_mails f JOIN fill_leases l ON l.n = f.lease_n JOIN fill_kinds k ON k.n = f.kind
WHERE f.n >= $1 AND f.n < $2 ORDER BY f.n
"""
_CODE = "lpad((f.n * 7919 % 1000000)::text, 6, '0')"
# Every sixth mail of a lease answers the one before.
_THREAD = "fill_id(f.at, 'thread' || f.lease_n || '.' || f.k - (f.k % 6 = 0)::int)"
_MAIL_ID, _MESSAGE_ID = "fill_id(f.at, 'mail' || f.n)", "fill_id(f.at, 'msg' || f.n)"
_TEXT = f"k.body || ' ' || {_CODE} || '.'"
_HEADER = """
'From: ' || k.sender_name || ' <' || k.sender || E'>\\r\\nTo: <' || l.address || E'>\\r\\nSubject: ' || k.subject
    || E'\\r\\nMessage-ID: <' || f.n || '@' || k.domain || E'>\\r\\n\\r\\n'
"""
_FACT = (
    "jsonb_build_object('lease_id', 'lse_' || substr(md5('l' || f.lease_n), 1, 26), 'mailbox_id', 'mbx_' || "
    "substr(md5('m' || f.lease_n), 1, 26), 'message_id', 'msg_' || substr(md5(f.n::text), 1, 26), 'parsed_status', "
    "CASE WHEN k.is_code THEN 'parsed' ELSE 'none' END)"
)
_POSITIONED = """
    RETURNING id, tenant_id, at
)
INSERT INTO fact_positions (position, fact_id, tenant_id)
SELECT (SELECT next_position FROM fact_sequence) + 2000000 + $1 * 2 + row_number() OVER (ORDER BY id), id, tenant_id
FROM made
"""
OF_MAILS = {
    "mails": f"""
        INSERT INTO mails (id, received_at, mail_from, helo, client_address, protocol, trace, content, accepted_for,
            state, tries)
        SELECT {_MAIL_ID}, f.at, k.sender, 'mx.' || k.domain, '198.51.100.' || f.n % 250, 'ESMTPS',
            convert_to('Return-Path: <' || k.sender || E'>\\r\\nReceived: from mx.' || k.domain
                || E' ([198.51.100.7])\\r\\n\\tby inbox.leasebox.test with ESMTPS id c811f2afa1ef.1\\r\\n\\tfor <'
                || l.address || E'>;\\r\\n\\tFri, 20 Nov 2026 16:34:18 +0000\\r\\n', 'UTF8'),
            convert_to({_HEADER} || {_TEXT} || E'\\r\\n', 'UTF8'),
            jsonb_build_array(jsonb_build_object('uid', f.k, 'lease_id', l.lease_id, 'tenant_id', l.tenant_id,
                'mailbox_id', l.mailbox_id, 'message_id', {_MESSAGE_ID})), 'done', 1
        {_FROM}
    """,
    "bodies": f"""
        INSERT INTO mail_bodies (mail_id, headers, cc, reply_to, body_text, body_html, attachments, extraction, defects)
        SELECT {_MAIL_ID}, jsonb_build_array(
                jsonb_build_object('name', 'Return-Path', 'value', '<' || k.sender || '>'),
                jsonb_build_object('name', 'Received', 'value', 'from mx.' || k.domain || ' ([198.51.100.7]) by '
                    'inbox.leasebox.test with ESMTPS id c811f2afa1ef.1; Fri, 20 Nov 2026 16:34:18 +0000'),
                jsonb_build_object('name', 'From', 'value', k.sender_name || ' <' || k.sender || '>'),
                jsonb_build_object('name', 'To', 'value', '<' || l.address || '>'),
                jsonb_build_object('name', 'Subject', 'value', k.subject)),
            '[]', '[]', {_TEXT}, NULL, '[]', CASE WHEN k.is_code THEN jsonb_build_object('codes',
                jsonb_build_array(jsonb_build_object('code', {_CODE}, 'visible', true, 'confidence', 0.844, 'evidence',
                'Your verification code is ' || {_CODE})), 'links', '[]'::jsonb, 'otp_code', {_CODE})
                ELSE '{{"codes": [], "links": [], "otp_code": null}}' END, '{{}}'
        {_FROM}
    """,
    "messages": f"""
        INSERT INTO messages (id, tenant_id, mailbox_id, lease_id, mail_id, uid, seq, direction, received_at,
            size_bytes, parsed_status, thread_id, header_message_id, sender, sender_name, sender_domain, recipients,
            subject, preview, otp_code, has_attachments, labels, auth, subject_key)
        SELECT {_MESSAGE_ID}, l.tenant_id, l.mailbox_id, l.lease_id, {_MAIL_ID}, f.k, f.k, 'inbound', f.at, 700,
            CASE WHEN k.is_code THEN 'parsed' ELSE 'none' END, {_THREAD}, f.n || '@' || k.domain, k.sender,
            k.sender_name, k.domain, jsonb_build_array(jsonb_build_object('name', '', 'address', l.address)),
            k.subject, left({_TEXT}, 200), CASE WHEN k.is_code THEN {_CODE} END, false,
            CASE WHEN f.n % 3 = 0 THEN '{{received,unread}}'::text[]
                 WHEN f.n % 1000 = 1 THEN '{{done,received}}' ELSE '{{received}}' END,
            '{{"spf": "pass", "dkim": "pass", "dmarc": "pass"}}', hashtext(k.subject)::bigint * 7919
        {_FROM}
    """,
    "words": f"""
        INSERT INTO message_search (tenant_id, message_id, search)
        SELECT l.tenant_id, {_MESSAGE_ID}, k.search || to_tsvector('simple', {_CODE} || ' ' || l.address) {_FROM}
    """,
    "facts": f"""
        WITH made AS (
            INSERT INTO facts (id, tenant_id, mailbox_id, lease_id, type, payload, at)
            SELECT fill_id(f.at, type || f.n), l.tenant_id, l.mailbox_id, l.lease_id, type, {_FACT}, f.at
            FROM fill_mails f JOIN fill_leases l ON l.n = f.lease_n JOIN fill_kinds k ON k.n = f.kind
            JOIN (VALUES ('message.received', false), ('otp.extracted', true)) AS types (type, of_codes)
                ON k.is_code OR NOT of_codes
            WHERE f.n >= $1 AND f.n < $2 ORDER BY f.n
        {_POSITIONED}
    """,
    "thread references": f"""
        INSERT INTO thread_references (lease_id, reference, thread_id)
        SELECT l.lease_id, decode(md5(f.n::text), 'hex'), {_THREAD} {_FROM.replace("WHERE", "WHERE f.k % 6 = 0 AND")}
    """,
}
AFTER = """
UPDATE fact_sequence SET next_position = (SELECT coalesce(max(position), 0) + 1 FROM fact_positions),
    seen = pg_current_snapshot()::text;
UPDATE webhook_cursor SET position = (SELECT coalesce(max(position), 0) FROM fact_positions)
"""
