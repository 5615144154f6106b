-- The verbs that are called most, as functions: each is one round trip, and a transaction of its own where nothing else
-- belongs to it. They put up the wall (row-level security) by themselves, for as long as that transaction lasts.
-- What has written already and finds that it must not be done raises LB001 with the reason as its message.

-- verb: stand_behind
-- From here on this transaction sees and writes rows of one tenant only; of all with NULL. Gives the tenant back, so that
-- it can stand as an argument of the verb that it must come before.
CREATE FUNCTION stand_behind(for_tenant uuid) RETURNS uuid LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('leasebox.tenant', coalesce(replace(for_tenant::text, '-', ''), ''), true);
    RETURN for_tenant;
END
$$

-- verb: spelled
-- An id as its text: the kind, an underscore and 26 characters of Crockford's base32 (values/ids.py).
CREATE FUNCTION spelled(kind text, id uuid) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT kind || '_' || string_agg(
        substr('0123456789abcdefghjkmnpqrstvwxyz', 1 + substring(bits FROM place FOR 5)::integer, 1), '' ORDER BY place)
    FROM (SELECT B'00' || ('x' || replace(id::text, '-', ''))::bit(128) AS bits) b, generate_series(1, 126, 5) AS place
$$

-- verb: rfc3339
-- A moment as values/clock.py writes it: in UTC, without a fraction where that is zero.
CREATE FUNCTION rfc3339(moment timestamptz) RETURNS text LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT to_char(moment AT TIME ZONE 'UTC', CASE WHEN date_trunc('second', moment) = moment
        THEN 'YYYY-MM-DD"T"HH24:MI:SS"Z"' ELSE 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"' END)
$$

-- verb: record_act
-- One row of the audit log.
CREATE FUNCTION record_act(
    audit uuid, moment timestamptz, for_tenant uuid, actor text, act text, thing text, request text
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_rows (id, at, tenant_id, actor, action, resource, outcome, request_id, detail)
    VALUES (audit, moment, for_tenant, actor, act, thing, 'done', request, '{}');
END
$$

-- verb: record_hold
-- The audit row of a hold, with its amount as values/money.py writes it.
CREATE FUNCTION record_hold(
    audit uuid, moment timestamptz, for_tenant uuid, actor text, proof text, request text, micros bigint
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_rows (id, at, tenant_id, actor, action, resource, outcome, request_id, detail)
    VALUES (audit, moment, for_tenant, actor, 'payment.hold', proof, 'done', request, jsonb_build_object(
        'amount_usdc', micros / 1000000 || '.' || lpad((micros % 1000000)::text, 6, '0')));
END
$$

-- verb: grant_lease
-- Claim an address and lease its mailbox, for a call that was admitted in the same statement. The claim decides, by the
-- rule of _GRANT in leases/store.py.
-- admission: the outcome of admit_use; unless it is free or paid nothing is done, and the outcome is `skipped`.
-- Raises no_agent, taken (as 40001 where the address was drawn: another one is to be drawn), beyond (it is not one of the
-- caller's mailboxes): the admission must not stand either.
CREATE FUNCTION grant_lease(
    admission text, for_tenant uuid, for_agent uuid, within uuid[], new_lease uuid, new_mailbox uuid, at_address text,
    at_domain text, of_origin text, for_purpose text, given jsonb, password text, moment timestamptz, until timestamptz,
    held timestamptz, tell timestamptz, actor text, lease_text text, request text, audit uuid,
    OUT outcome text, OUT mailbox uuid, OUT metadata jsonb
) LANGUAGE plpgsql AS $$
BEGIN
    IF admission NOT IN ('free', 'paid') THEN
        outcome := 'skipped';
        RETURN;
    END IF;
    PERFORM FROM agents WHERE tenant_id = for_tenant AND id = for_agent AND status = 'active';
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'LB001', MESSAGE = 'no_agent';
    END IF;
    WITH claim AS (
        INSERT INTO addresses AS a (address, tenant_id, mailbox_id, lease_id, origin, leased_until, held_until)
        VALUES (at_address, for_tenant, new_mailbox, new_lease, of_origin, until, held)
        ON CONFLICT (address) DO UPDATE SET
            tenant_id = for_tenant, lease_id = new_lease, leased_until = until, held_until = held,
            mailbox_id = CASE WHEN a.tenant_id = for_tenant THEN a.mailbox_id ELSE new_mailbox END
        WHERE a.origin = 'chosen' AND of_origin = 'chosen' AND a.leased_until <= moment
            AND (a.held_until <= moment OR a.tenant_id = for_tenant
                AND NOT EXISTS (SELECT FROM leases x WHERE x.id = a.lease_id AND x.frozen_at IS NOT NULL))
        RETURNING a.mailbox_id
    ), m AS (
        INSERT INTO mailboxes (id, tenant_id, address, domain, origin, metadata, uid_validity, next_uid, next_seq,
                               created_at)
        SELECT c.mailbox_id, for_tenant, at_address, at_domain, of_origin, '{}', floor(extract(epoch FROM moment)), 1,
               1, moment FROM claim c
        ON CONFLICT (id) DO UPDATE SET erased_at = NULL
        RETURNING id
    )
    INSERT INTO leases AS l (id, tenant_id, mailbox_id, agent_id, purpose, metadata, state, started_at, expires_at,
                             password_hash, password_set_at, used_bytes, used_messages, tell_at)
    SELECT new_lease, for_tenant, m.id, for_agent, for_purpose, given, 'active', moment, until, password, moment, 0, 0,
           tell FROM m
    RETURNING l.mailbox_id, l.metadata INTO mailbox, metadata;
    IF mailbox IS NULL THEN
        RAISE EXCEPTION USING MESSAGE = 'taken',
            ERRCODE = CASE WHEN of_origin = 'generated' THEN '40001' ELSE 'LB001' END;
    ELSIF mailbox <> ALL (within) THEN
        RAISE EXCEPTION USING ERRCODE = 'LB001', MESSAGE = 'beyond';
    END IF;
    outcome := 'granted';
    PERFORM record_act(audit, moment, for_tenant, actor, 'lease.grant', lease_text, request);
END
$$

-- verb: release_lease
-- End a lease now, tell it as a fact unless its end was told before, and write it down. The address is locked before its
-- lease, here and by whoever renews or claims.
-- outcome: released; again (it was released before); frozen; unknown, also outside the caller's mailboxes.
-- told: whether there is a new fact.
CREATE FUNCTION release_lease(
    for_tenant uuid, wanted uuid, within uuid[], moment timestamptz, hold interval, actor text, lease_text text,
    request text, audit uuid, event uuid,
    OUT outcome text, OUT mailbox_id uuid, OUT told boolean
) LANGUAGE plpgsql AS $$
DECLARE
    lease leases;
BEGIN
    PERFORM stand_behind(for_tenant);
    told := false;
    PERFORM FROM addresses a WHERE a.tenant_id = for_tenant AND a.lease_id = wanted FOR UPDATE;
    SELECT * INTO lease FROM leases l WHERE l.tenant_id = for_tenant AND l.id = wanted FOR NO KEY UPDATE;
    IF NOT FOUND OR lease.mailbox_id <> ALL (within) THEN
        outcome := 'unknown';
        RETURN;
    END IF;
    mailbox_id := lease.mailbox_id;
    IF lease.state = 'released' OR lease.frozen_at IS NOT NULL THEN
        outcome := CASE WHEN lease.state = 'released' THEN 'again' ELSE 'frozen' END;
        RETURN;
    END IF;
    told := lease.tell_at IS NOT NULL;
    lease.expires_at := least(lease.expires_at, moment);
    UPDATE leases l SET state = 'released', released_at = moment, expires_at = lease.expires_at, tell_at = NULL
    WHERE l.tenant_id = for_tenant AND l.id = wanted;
    UPDATE addresses a SET leased_until = lease.expires_at, held_until = lease.expires_at + hold
    WHERE a.lease_id = wanted;
    IF told THEN
        INSERT INTO facts (id, tenant_id, mailbox_id, lease_id, type, payload, at)
        VALUES (event, for_tenant, lease.mailbox_id, wanted, 'lease.released', jsonb_build_object(
            'lease_id', lease_text, 'mailbox_id', spelled('mbx', lease.mailbox_id),
            'expires_at', rfc3339(lease.expires_at)), moment);
    END IF;
    PERFORM record_act(audit, moment, for_tenant, actor, 'lease.release', lease_text, request);
    outcome := 'released';
END
$$

-- verb: look_into
-- Whether an admitted call may read a mailbox, or all of the tenant's (NULL); false where it was not admitted.
-- Raises LB001: unknown, frozen, paused; the admission must not stand either. An ended lease may still be read.
CREATE FUNCTION look_into(admission text, for_tenant uuid, mailbox uuid, moment timestamptz) RETURNS boolean
LANGUAGE plpgsql AS $$
DECLARE
    lease leases;
BEGIN
    IF admission NOT IN ('free', 'paid') THEN
        RETURN false;
    ELSIF mailbox IS NULL THEN
        RETURN true;
    END IF;
    SELECT l.* INTO lease FROM mailboxes m JOIN leases l ON l.mailbox_id = m.id AND l.tenant_id = m.tenant_id
    WHERE m.tenant_id = for_tenant AND m.id = mailbox AND m.erased_at IS NULL ORDER BY l.id DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'LB001', MESSAGE = 'unknown';
    ELSIF lease.frozen_at IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'LB001', MESSAGE = 'frozen';
    ELSIF lease.state = 'paused' AND lease.expires_at > moment THEN
        RAISE EXCEPTION USING ERRCODE = 'LB001', MESSAGE = 'paused';
    END IF;
    RETURN true;
END
$$

-- verb: sign_in_wallet
-- A session for a wallet; its tenant, wallet and agent are made on its first sign-in. The wallet's lock lets the second of
-- two at once wait for the first.
-- outcome: known; new; newcomer (nothing was done: `may_found` was false); else the status of the tenant, with what is
-- in the way: inactive; disabled (the agent).
CREATE FUNCTION sign_in_wallet(
    wallet text, address text, chain bigint, may_found boolean, new_tenant uuid, new_agent uuid, agent_name text,
    new_session uuid, session_text text, token bytea, given_scopes text[], moment timestamptz, until timestamptz,
    request text, founding uuid, audit uuid,
    OUT outcome text, OUT tenant_id uuid, OUT agent_id uuid, OUT status text
) LANGUAGE plpgsql AS $$
BEGIN
    PERFORM stand_behind(NULL);
    PERFORM pg_advisory_xact_lock(hashtextextended('wallet:' || wallet, 0));
    SELECT t.id, t.status INTO tenant_id, status FROM wallets w JOIN tenants t ON t.id = w.tenant_id
    WHERE w.address = wallet;
    outcome := CASE WHEN FOUND THEN 'known' WHEN may_found THEN 'new' ELSE 'newcomer' END;
    IF outcome = 'newcomer' THEN
        RETURN;
    ELSIF outcome = 'known' AND status <> 'active' THEN
        outcome := 'inactive';
        RETURN;
    ELSIF outcome = 'new' THEN
        tenant_id := new_tenant;
        INSERT INTO tenants (id, status, created_at) VALUES (new_tenant, 'active', moment);
        INSERT INTO wallets (address, tenant_id, chain_id, bound_at) VALUES (wallet, new_tenant, chain, moment);
    END IF;
    SELECT a.id, a.status INTO agent_id, status FROM agents a
    WHERE a.tenant_id = sign_in_wallet.tenant_id AND a.wallet_address = wallet;
    IF NOT FOUND THEN
        INSERT INTO agents AS a (id, tenant_id, name, wallet_address, status, created_at)
        VALUES (new_agent, sign_in_wallet.tenant_id, agent_name, wallet, 'active', moment)
        RETURNING a.id, a.status INTO agent_id, status;
    END IF;
    IF status <> 'active' THEN
        outcome := 'disabled';
        RETURN;
    END IF;
    INSERT INTO sessions (id, token_hash, tenant_id, agent_id, wallet_address, chain_id, scopes, created_at, expires_at)
    VALUES (new_session, token, sign_in_wallet.tenant_id, sign_in_wallet.agent_id, address, chain, given_scopes, moment,
            until);
    IF outcome = 'new' THEN
        PERFORM record_act(founding, moment, tenant_id, spelled('agt', agent_id), 'tenant.create',
                           spelled('ten', tenant_id), request);
    END IF;
    PERFORM record_act(audit, moment, tenant_id, spelled('agt', agent_id), 'session.create', session_text, request);
END
$$
