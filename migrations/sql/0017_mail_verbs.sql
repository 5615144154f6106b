-- Taking mail and publishing it, each as one round trip that is a transaction of its own: for `Database.at_once`. They
-- do what nearly always is to be done. All else they refuse, and nothing of it is done; that goes the long way,
-- statement by statement (mail/intake.py, mail/service.py).
-- Each plans its statements once a session, and such plans must stay good when tables grow: so they go by indexes, row
-- by row, as is right for a group of at most some hundred. Planned anew at each call, they would take longer than they
-- run.

-- verb: take_mails
-- Store a group of mails and count them against their leases' quotas, if each address still leads to the lease that
-- RCPT found, and each lease takes all that the group has for it: by the rule of `judge` in leases/inbound.py.
-- for_address … more_mails: one for each lease; new_id … taker: one for each mail.
-- False: nothing was done.
CREATE FUNCTION take_mails(
    moment timestamptz, most_bytes bigint, most_mails bigint,
    for_address text[], for_lease uuid[], for_tenant uuid[], for_mailbox uuid[], more_bytes bigint[],
    more_mails integer[],
    new_id uuid[], came_at timestamptz[], sent_from text[], greeted text[], client text[], said_protocol text[],
    traced bytea[], wire bytea[], taker jsonb[]
) RETURNS boolean LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    fit bigint;
BEGIN
    PERFORM stand_behind(NULL);
    -- Locked in one order, and as little as _ROUTE_LOCKED in leases/store.py locks.
    PERFORM FROM unnest(for_address, for_lease, for_tenant, for_mailbox, more_bytes, more_mails)
            AS w(address, lease, tenant, mailbox, bytes, mails)
        JOIN leases l ON l.id = w.lease JOIN addresses a ON a.address = w.address
    WHERE a.lease_id = l.id AND l.tenant_id = w.tenant AND l.mailbox_id = w.mailbox
        AND l.state = 'active' AND l.expires_at > moment AND l.frozen_at IS NULL
        AND l.used_messages + w.mails <= most_mails AND l.used_bytes + w.bytes <= most_bytes
    ORDER BY l.id FOR NO KEY UPDATE OF l;
    GET DIAGNOSTICS fit = ROW_COUNT;
    IF fit < cardinality(for_lease) THEN
        RETURN false;
    END IF;
    UPDATE leases l SET used_bytes = used_bytes + bytes, used_messages = used_messages + mails
    FROM unnest(for_lease, more_bytes, more_mails) AS w(lease, bytes, mails) WHERE l.id = w.lease;
    INSERT INTO mails (id, received_at, mail_from, helo, client_address, protocol, trace, content, accepted_for, state,
                       tries)
    SELECT t.*, 'pending', 0
    FROM unnest(new_id, came_at, sent_from, greeted, client, said_protocol, traced, wire, taker) AS t;
    RETURN true;
END
$$

-- verb: claim_mails
-- Give mails of some sizes that nobody parses, the oldest first, to one parser until a time; each such time is a try.
-- The index of what is pending holds all that was, until it is vacuumed. Read in its order, as it is here, it is rid
-- of that as it goes; a bitmap of it, which the planner likes for a short list, would be read from end to end each
-- time.
CREATE FUNCTION claim_mails(
    moment timestamptz, claimer uuid, most integer, until timestamptz, smallest integer, largest integer
) RETURNS SETOF mails LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_sort = off
SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
BEGIN
    -- Not waited for by fsync: a claim that a crash forgets is made again, and what comes of it is committed as ever.
    PERFORM set_config('synchronous_commit', 'off', true);
    RETURN QUERY
    WITH next AS MATERIALIZED (
        SELECT m.id FROM mails m
        WHERE m.state = 'pending' AND (m.claimed_until IS NULL OR m.claimed_until < moment)
            AND octet_length(m.content) BETWEEN smallest AND largest
        ORDER BY m.id LIMIT most FOR UPDATE SKIP LOCKED
    )
    UPDATE mails m SET claim = claimer, claimed_until = until, tries = m.tries + 1 FROM next WHERE m.id = next.id
    RETURNING m.*;
END
$$

-- verb: file_mails
-- Make the messages of parsed mails visible together with their facts, if each mail is still to be published and no
-- lease has been erased. None of them refers to another mail, and no two of a lease have the same message id: such a
-- mail joins the thread of its answers where these were quicker (mail/threads.py); else it begins the one given.
-- of_mail … new_text: one for each mail; for_lease: each lease once; for_mailbox, more: each mailbox once, and how
-- many messages it gets; letter … w_text: one for each message, nth: its place among those of its mailbox, from 0;
-- fact … fact_at: one for each fact.
-- Raises LB001 `finished` or `erased`: nothing was done.
CREATE FUNCTION file_mails(
    of_mail uuid[], header jsonb[], copy jsonb[], answer_to jsonb[], plain text[], page text[], attached jsonb[],
    finding jsonb[], defect jsonb[], new_text text[],
    for_lease uuid[], for_mailbox uuid[], more integer[],
    letter uuid[], tenant uuid[], mailbox uuid[], lease uuid[], mail uuid[], nth integer[], came_at timestamptz[],
    octets integer[], status text[], own_thread uuid[], own_name text[], own_reference bytea[], sent_by text[],
    sent_by_name text[], sent_by_domain text[], sent_to jsonb[], about text[], beginning text[], code text[],
    link text[], has_files boolean[], told jsonb[], about_key bigint[], w_subject text[], w_sender text[],
    w_people text[], w_text text[],
    fact uuid[], fact_tenant uuid[], fact_mailbox uuid[], fact_lease uuid[], fact_type text[], fact_payload jsonb[],
    fact_at timestamptz[]
) RETURNS void LANGUAGE plpgsql
SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off
AS $$
DECLARE
    touched bigint;
    boxes uuid[];
    seqs bigint[];
    uids bigint[];
BEGIN
    PERFORM stand_behind(NULL);
    UPDATE mails SET state = 'done', claim = NULL, claimed_until = NULL WHERE id = ANY (of_mail) AND state = 'pending';
    GET DIAGNOSTICS touched = ROW_COUNT;
    IF touched < cardinality(of_mail) THEN
        RAISE EXCEPTION USING ERRCODE = 'LB001', MESSAGE = 'finished';
    END IF;
    -- As _UNERASED in mail/store.py.
    PERFORM FROM leases l WHERE l.id = ANY (for_lease) AND l.purged_at IS NULL ORDER BY l.id FOR KEY SHARE;
    GET DIAGNOSTICS touched = ROW_COUNT;
    IF touched < cardinality(for_lease) THEN
        RAISE EXCEPTION USING ERRCODE = 'LB001', MESSAGE = 'erased';
    END IF;
    INSERT INTO mail_bodies (mail_id, headers, cc, reply_to, body_text, body_html, attachments, extraction, defects,
                             extracted_text)
    SELECT b.id, b.header, b.copy, b.answer_to, b.plain, b.page, b.attached, b.finding,
        ARRAY(SELECT jsonb_array_elements_text(b.defect)), b.new_text
    FROM unnest(of_mail, header, copy, answer_to, plain, page, attached, finding, defect, new_text)
        AS b(id, header, copy, answer_to, plain, page, attached, finding, defect, new_text);
    -- As _NEXT_PLACES there. From here on nobody else files mail in these mailboxes, so the threads that the next
    -- statement sees are all there are.
    WITH locked AS (
        SELECT b.id, w.count FROM mailboxes b JOIN unnest(for_mailbox, more) AS w(id, count) ON b.id = w.id
        ORDER BY b.id FOR NO KEY UPDATE OF b
    ), moved AS (
        UPDATE mailboxes b SET next_seq = next_seq + count, next_uid = next_uid + count FROM locked
        WHERE b.id = locked.id RETURNING b.id, next_seq - count AS seq, next_uid - count AS uid
    )
    SELECT array_agg(m.id), array_agg(m.seq), array_agg(m.uid) INTO boxes, seqs, uids FROM moved m;
    INSERT INTO messages (id, tenant_id, mailbox_id, lease_id, mail_id, uid, seq, direction, received_at, size_bytes,
        parsed_status, thread_id, header_message_id, sender, sender_name, sender_domain, recipients, subject, preview,
        otp_code, verification_link, has_attachments, labels, auth, subject_key)
    SELECT n.id, n.tenant, n.mailbox, n.lease, n.mail, p.uid + n.nth, p.seq + n.nth, 'inbound', n.came_at, n.octets,
        n.status,
        coalesce(
            (SELECT m.thread_id FROM messages m WHERE m.lease_id = n.lease AND m.header_message_id = n.own_name
             ORDER BY m.id DESC LIMIT 1),
            (SELECT r.thread_id FROM thread_references r
             WHERE r.lease_id = n.lease AND r.reference = n.own_reference),
            n.own_thread),
        n.own_name, n.sent_by, n.sent_by_name, n.sent_by_domain, n.sent_to, n.about, n.beginning, n.code, n.link,
        n.has_files, ARRAY['received', 'unread'], n.told, n.about_key
    FROM unnest(letter, tenant, mailbox, lease, mail, nth, came_at, octets, status, own_thread, own_name,
                own_reference, sent_by, sent_by_name, sent_by_domain, sent_to, about, beginning, code, link, has_files,
                told, about_key)
        AS n(id, tenant, mailbox, lease, mail, nth, came_at, octets, status, own_thread, own_name, own_reference,
             sent_by, sent_by_name, sent_by_domain, sent_to, about, beginning, code, link, has_files, told, about_key)
        JOIN unnest(boxes, seqs, uids) AS p(mailbox, seq, uid) ON p.mailbox = n.mailbox;
    INSERT INTO message_search (tenant_id, message_id, search)
    SELECT s.tenant, s.id, setweight(to_tsvector('simple', s.about), 'A')
        || setweight(to_tsvector('simple', s.sender), 'B') || setweight(to_tsvector('simple', s.people), 'C')
        || to_tsvector('simple', s.plain)
    FROM unnest(letter, tenant, w_subject, w_sender, w_people, w_text) AS s(id, tenant, about, sender, people, plain);
    INSERT INTO facts (id, tenant_id, mailbox_id, lease_id, type, payload, at)
    SELECT * FROM unnest(fact, fact_tenant, fact_mailbox, fact_lease, fact_type, fact_payload, fact_at);
END
$$
