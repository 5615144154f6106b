-- What moves money says in the audit log how much: holds that time gives back, and a lease that was paid for.

-- verb: usdc
-- An amount as values/money.py writes it.
CREATE FUNCTION usdc(micros bigint) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT micros / 1000000 || '.' || lpad((micros % 1000000)::text, 6, '0')
$$

-- verb: record_charge
-- The audit row of an act that was paid for.
CREATE FUNCTION record_charge(
    audit uuid, moment timestamptz, for_tenant uuid, actor text, act text, thing text, request text, micros bigint,
    version integer
) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO audit_rows (id, at, tenant_id, actor, action, resource, outcome, request_id, detail)
    VALUES (audit, moment, for_tenant, actor, act, thing, 'done', request,
            jsonb_build_object('amount_usdc', usdc(micros), 'price_version', version));
END
$$

-- verb: release_expired
-- Release a tenant's holds whose time is over. The caller has locked the tenant's funds, so nobody else is doing the same;
-- a proof that is locked is just being spent. Unlike 0002's it writes one audit row, with the sum: whoever calls it, what
-- time gives back is written down in the same transaction.
CREATE OR REPLACE FUNCTION release_expired(
    for_tenant uuid, moment timestamptz, OUT released integer, OUT released_micros bigint
) LANGUAGE plpgsql AS $$
DECLARE
    proof payment_proofs;
BEGIN
    released := 0;
    released_micros := 0;
    FOR proof IN
        SELECT * FROM payment_proofs WHERE tenant_id = for_tenant AND state = 'held' AND expires_at <= moment
        ORDER BY id FOR UPDATE SKIP LOCKED
    LOOP
        UPDATE payment_proofs SET state = 'released', settled_at = moment WHERE id = proof.id;
        PERFORM return_hold(proof, proof.amount_micros, moment, 'clock');
        released := released + 1;
        released_micros := released_micros + proof.amount_micros;
    END LOOP;
    IF released > 0 THEN
        INSERT INTO audit_rows (id, at, tenant_id, actor, action, resource, outcome, request_id, detail)
        VALUES (id_at(moment), moment, for_tenant, 'clock', 'payment.release', spelled('ten', for_tenant), 'done',
                'clock', jsonb_build_object('holds', released, 'amount_usdc', usdc(released_micros)));
    END IF;
END
$$

-- verb: grant_lease
-- Claim an address and lease its mailbox, for a call that was admitted in the same statement. The claim decides, by the
-- rule of _GRANT in leases/store.py.
-- Unlike 0014's it is told what the call was charged, in micros, and by which price version: the audit row says both.
-- admission: the outcome of admit_use; unless it is free or paid nothing is done, and the outcome is `skipped`.
-- Raises no_agent, taken (as 40001 where the address was drawn: another one is to be drawn), beyond (it is not one of the
-- caller's mailboxes): the admission must not stand either.
CREATE FUNCTION grant_lease(
    admission text, for_tenant uuid, for_agent uuid, within uuid[], new_lease uuid, new_mailbox uuid, at_address text,
    at_domain text, of_origin text, for_purpose text, given jsonb, password text, moment timestamptz, until timestamptz,
    held timestamptz, tell timestamptz, actor text, lease_text text, request text, audit uuid,
    charge bigint DEFAULT 0, priced integer DEFAULT NULL,
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
    IF charge > 0 THEN
        PERFORM record_charge(audit, moment, for_tenant, actor, 'lease.grant', lease_text, request, charge, priced);
    ELSE
        PERFORM record_act(audit, moment, for_tenant, actor, 'lease.grant', lease_text, request);
    END IF;
END
$$
