-- The verbs of billing as functions, so that each costs one round trip. They wait for locks in one order: allowance
-- counter, proof, the tenant's funds, its spend caps. Who has the funds takes further proofs only if nobody has them.

-- verb: window_end
-- The end (exclusive) of the UTC hour, day or month that holds a moment.
CREATE FUNCTION window_end(span text, at timestamptz) RETURNS timestamptz LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT (date_trunc(span, at AT TIME ZONE 'UTC') + ('1 ' || span)::interval) AT TIME ZONE 'UTC'
$$

-- verb: id_at
-- UUIDv7 (RFC 9562 §5.7) of a moment that the caller names; PostgreSQL's own, from 18 on, takes the server's clock.
CREATE FUNCTION id_at(at timestamptz) RETURNS uuid LANGUAGE sql VOLATILE PARALLEL SAFE AS $$
    SELECT encode(set_bit(set_bit(overlay(uuid_send(gen_random_uuid()) PLACING
        substring(int8send(floor(extract(epoch FROM at) * 1000)::bigint) FROM 3) FROM 1 FOR 6), 52, 1), 53, 1),
        'hex')::uuid
$$

-- verb: return_hold
-- Give what was held, or the rest of it, back to where it came from, and to the caps that it counted in.
CREATE FUNCTION return_hold(proof payment_proofs, amount bigint, at timestamptz, actor text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    IF amount = 0 THEN
        RETURN;
    END IF;
    INSERT INTO ledger_transfers (id, tenant_id, kind, debit, credit, amount_micros, at, proof_id, made_by, note)
    VALUES (id_at(at), proof.tenant_id, 'release', 'held', proof.source, amount, at, proof.id, actor, '');
    UPDATE spend_caps SET used_micros = greatest(used_micros - amount, 0)
    WHERE subject IN (proof.tenant_id, proof.held_by) AND starts_at = date_trunc(span, proof.issued_at, 'UTC');
END
$$

-- verb: release_expired
-- Release a tenant's holds whose time is over. The caller has locked the tenant's funds, so nobody else is doing the same;
-- a proof that is locked is just being spent.
CREATE FUNCTION release_expired(
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
END
$$

-- verb: release_due
-- The same for some tenants, in order of their ids.
CREATE FUNCTION release_due(
    moment timestamptz, most_tenants integer, OUT tenants integer, OUT released integer, OUT released_micros bigint
) LANGUAGE plpgsql AS $$
DECLARE
    due uuid;
    given record;
BEGIN
    tenants := 0;
    released := 0;
    released_micros := 0;
    FOR due IN
        SELECT tenant_id FROM payment_proofs WHERE state = 'held' AND expires_at <= moment
        GROUP BY tenant_id ORDER BY tenant_id LIMIT most_tenants
    LOOP
        PERFORM FROM tenant_funds WHERE tenant_id = due FOR UPDATE;
        SELECT * INTO given FROM release_expired(due, moment);
        tenants := tenants + 1;
        released := released + given.released;
        released_micros := released_micros + given.released_micros;
    END LOOP;
END
$$

-- verb: hold_funds
-- Hold a quote's amount on the balance, else on the month's invoice, within all caps; or say what is in the way.
CREATE FUNCTION hold_funds(
    new_proof uuid, for_tenant uuid, credential uuid, actor text, for_method text, for_path text, of_meter text,
    units integer, default_credit bigint, moment timestamptz, good_until timestamptz,
    OUT outcome text, OUT price_version integer, OUT amount_micros bigint, OUT limit_micros bigint,
    OUT left_micros bigint, OUT span text, OUT resets_at timestamptz
) LANGUAGE plpgsql AS $$
DECLARE
    price price_versions;
    funds tenant_funds;
    cap spend_caps;
    source text;
BEGIN
    SELECT * INTO STRICT price FROM price_versions WHERE meter = of_meter ORDER BY version DESC LIMIT 1;
    price_version := price.version;
    amount_micros := price.unit_price_micros * units;
    PERFORM FROM tenant_funds WHERE tenant_id = for_tenant FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO tenant_funds (tenant_id, balance_micros, held_micros, receivable_micros)
        VALUES (for_tenant, 0, 0, 0) ON CONFLICT DO NOTHING;
        PERFORM FROM tenant_funds WHERE tenant_id = for_tenant FOR UPDATE;
    END IF;
    PERFORM release_expired(for_tenant, moment);
    SELECT * INTO STRICT funds FROM tenant_funds WHERE tenant_id = for_tenant;
    limit_micros := coalesce(funds.credit_limit_micros,
        CASE WHEN EXISTS (SELECT FROM wallets WHERE tenant_id = for_tenant) THEN default_credit ELSE 0 END);
    left_micros := greatest(limit_micros - funds.receivable_micros, 0);
    IF amount_micros > 0 THEN
        IF funds.balance_micros >= amount_micros THEN
            source := 'balance';
        ELSIF left_micros >= amount_micros THEN
            source := 'receivable';
        ELSE
            outcome := 'no_funds';
            left_micros := greatest(left_micros, funds.balance_micros);
            RETURN;
        END IF;
    END IF;
    FOR cap IN
        SELECT * FROM spend_caps c WHERE c.subject IN (for_tenant, credential) ORDER BY c.subject, c.span FOR UPDATE
    LOOP
        IF cap.starts_at < date_trunc(cap.span, moment, 'UTC') THEN
            cap.used_micros := 0;
        END IF;
        IF cap.used_micros + amount_micros > cap.limit_micros THEN
            outcome := 'spend_cap';
            limit_micros := cap.limit_micros;
            left_micros := greatest(cap.limit_micros - cap.used_micros, 0);
            span := cap.span;
            resets_at := window_end(cap.span, moment);
            RETURN;
        END IF;
    END LOOP;
    UPDATE spend_caps c SET
        used_micros = amount_micros
            + CASE WHEN c.starts_at < date_trunc(c.span, moment, 'UTC') THEN 0 ELSE c.used_micros END,
        starts_at = greatest(c.starts_at, date_trunc(c.span, moment, 'UTC'))
    WHERE c.subject IN (for_tenant, credential);
    INSERT INTO payment_proofs (id, tenant_id, held_by, method, path, meter, price_version, unit_price_micros, quantity,
                                amount_micros, source, state, issued_at, expires_at)
    VALUES (new_proof, for_tenant, credential, for_method, for_path, of_meter, price.version, price.unit_price_micros,
            units, amount_micros, source, 'held', moment, good_until);
    IF amount_micros > 0 THEN
        INSERT INTO ledger_transfers (id, tenant_id, kind, debit, credit, amount_micros, at, proof_id, made_by, note)
        VALUES (id_at(moment), for_tenant, 'hold', source, 'held', amount_micros, moment, new_proof, actor, '');
    END IF;
    outcome := 'held';
END
$$

-- verb: take_free
-- Take units from the allowance by a guarded update: of two calls for the last free unit the second waits for the
-- first, and sees it taken or, if that call failed, free again. An exhausted allowance is only read, so that payers do
-- not queue for it.
CREATE FUNCTION take_free(price price_versions, for_tenant uuid, units integer, starts timestamptz) RETURNS integer
LANGUAGE plpgsql AS $$
DECLARE
    so_far integer;
    taken integer;
BEGIN
    IF price.unit_price_micros = 0 THEN
        RETURN units;
    END IF;
    UPDATE allowance_counters SET used = used + units
    WHERE tenant_id = for_tenant AND meter = price.meter AND span = price.span AND starts_at = starts
        AND used + units <= price.free_units;
    IF FOUND THEN
        RETURN units;
    END IF;
    IF price.free_units = 0 THEN
        RETURN 0;
    END IF;
    INSERT INTO allowance_counters (tenant_id, meter, span, starts_at, used)
    VALUES (for_tenant, price.meter, price.span, starts, least(units, price.free_units))
    ON CONFLICT DO NOTHING RETURNING used INTO taken;
    IF taken IS NOT NULL THEN
        RETURN taken;
    END IF;
    SELECT used INTO STRICT so_far FROM allowance_counters
    WHERE tenant_id = for_tenant AND meter = price.meter AND span = price.span AND starts_at = starts;
    IF so_far >= price.free_units THEN
        RETURN 0;
    END IF;
    SELECT used INTO STRICT so_far FROM allowance_counters
    WHERE tenant_id = for_tenant AND meter = price.meter AND span = price.span AND starts_at = starts FOR UPDATE;
    taken := least(units, greatest(price.free_units - so_far, 0));
    UPDATE allowance_counters SET used = used + taken
    WHERE tenant_id = for_tenant AND meter = price.meter AND span = price.span AND starts_at = starts;
    RETURN taken;
END
$$

-- verb: admit_use
-- Decide one metered call: free, paid by its proof, or refused with nothing done; and record the usage event.
CREATE FUNCTION admit_use(
    new_event uuid, for_tenant uuid, agent uuid, credential uuid, actor text, on_method text, on_path text,
    of_meter text, units integer, with_proof uuid, moment timestamptz, request text,
    OUT outcome text, OUT free_quantity integer, OUT paid_quantity integer, OUT price_version integer,
    OUT unit_price_micros bigint, OUT free_units integer, OUT span text, OUT resets_at timestamptz
) LANGUAGE plpgsql AS $$
DECLARE
    price price_versions;
    proof payment_proofs;
    charge bigint := 0;
BEGIN
    SELECT * INTO STRICT price FROM price_versions p WHERE p.meter = of_meter ORDER BY p.version DESC LIMIT 1;
    price_version := price.version;
    unit_price_micros := price.unit_price_micros;
    free_quantity := take_free(price, for_tenant, units, date_trunc(price.span, moment, 'UTC'));
    paid_quantity := units - free_quantity;
    IF paid_quantity > 0 THEN
        free_units := price.free_units;
        span := price.span;
        resets_at := window_end(price.span, moment);
        IF with_proof IS NULL THEN
            outcome := 'unpaid';
            RETURN;
        END IF;
        UPDATE payment_proofs p SET state = 'spent', settled_at = moment,
            charged_micros = p.unit_price_micros * paid_quantity
        WHERE p.id = with_proof AND p.tenant_id = for_tenant AND p.state = 'held' AND p.expires_at > moment
            AND p.quantity >= paid_quantity AND p.method = on_method AND p.path = on_path
        RETURNING * INTO proof;
        IF NOT FOUND THEN
            SELECT * INTO proof FROM payment_proofs p WHERE p.id = with_proof AND p.tenant_id = for_tenant;
            outcome := CASE
                WHEN NOT FOUND THEN 'unknown'
                WHEN proof.state = 'spent' THEN 'replayed'
                WHEN proof.expires_at <= moment THEN 'expired'
                WHEN proof.state = 'released' THEN 'released'
                WHEN proof.quantity < paid_quantity THEN 'too_small'
                ELSE 'wrong_path' END;
            RETURN;
        END IF;
        price_version := proof.price_version;
        unit_price_micros := proof.unit_price_micros;
        charge := proof.charged_micros;
    END IF;
    INSERT INTO usage_events (id, tenant_id, agent_id, credential_id, method, path, meter, price_version,
        unit_price_micros, free_quantity, paid_quantity, amount_micros, proof_id, request_id, occurred_at)
    VALUES (new_event, for_tenant, agent, credential, on_method, on_path, of_meter, admit_use.price_version,
        admit_use.unit_price_micros, admit_use.free_quantity, admit_use.paid_quantity, charge, proof.id, request,
        moment);
    IF charge > 0 THEN
        INSERT INTO ledger_transfers (id, tenant_id, kind, debit, credit, amount_micros, at, proof_id, event_id,
                                      made_by, note)
        VALUES (id_at(moment), for_tenant, 'spend', 'held', 'revenue', charge, moment, proof.id, new_event, actor, '');
    END IF;
    IF proof.id IS NOT NULL THEN
        PERFORM return_hold(proof, proof.amount_micros - charge, moment, actor);
    END IF;
    outcome := CASE WHEN paid_quantity = 0 THEN 'free' ELSE 'paid' END;
END
$$

-- verb: reverse_transfer
-- Take a transfer back by another. A charge is given back from `refunds`, not from `revenue`, so that revenue stays the
-- sum of what was metered; it goes where it came from: to the invoice while that is still owed, else to the balance.
CREATE FUNCTION reverse_transfer(
    new_id uuid, for_tenant uuid, wrong uuid, moment timestamptz, actor text, why text, OUT outcome text
) LANGUAGE plpgsql AS $$
DECLARE
    done ledger_transfers;
    funds tenant_funds;
    from_side text;
    to_side text;
BEGIN
    SELECT * INTO done FROM ledger_transfers WHERE id = wrong AND tenant_id = for_tenant;
    IF NOT FOUND THEN
        outcome := 'unknown';
        RETURN;
    END IF;
    SELECT * INTO STRICT funds FROM tenant_funds WHERE tenant_id = for_tenant FOR UPDATE;
    IF EXISTS (SELECT FROM ledger_transfers WHERE reverses = wrong) THEN
        outcome := 'replayed';
        RETURN;
    END IF;
    IF done.kind = 'spend' THEN
        from_side := 'refunds';
        SELECT source INTO STRICT to_side FROM payment_proofs WHERE id = done.proof_id;
        IF to_side = 'receivable' AND funds.receivable_micros < done.amount_micros THEN
            to_side := 'balance';
        END IF;
    ELSIF done.kind IN ('grant', 'settlement', 'deposit') THEN
        from_side := done.credit;
        to_side := done.debit;
    ELSE
        outcome := 'irreversible';
        RETURN;
    END IF;
    IF (from_side = 'balance' AND funds.balance_micros < done.amount_micros)
            OR (to_side = 'receivable' AND funds.receivable_micros < done.amount_micros) THEN
        outcome := 'short';
        RETURN;
    END IF;
    INSERT INTO ledger_transfers (id, tenant_id, kind, debit, credit, amount_micros, at, event_id, reverses, made_by,
                                  note)
    VALUES (new_id, for_tenant, 'reversal', from_side, to_side, done.amount_micros, moment, done.event_id, wrong, actor,
            why);
    outcome := 'reversed';
END
$$

-- verb: claim_answer
-- Take an Idempotency-Key until the transaction ends. The row is looked for in a statement after the lock was had, so
-- that it sees what the one before committed.
CREATE FUNCTION claim_answer(
    for_tenant uuid, named text, moment timestamptz,
    OUT outcome text, OUT fingerprint bytea, OUT status smallint, OUT kid text, OUT sealed bytea
) LANGUAGE plpgsql AS $$
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('answer:' || for_tenant || ':' || named, 0)) THEN
        outcome := 'running';
        RETURN;
    END IF;
    SELECT 'kept', a.fingerprint, a.status, a.kid, a.sealed INTO outcome, fingerprint, status, kid, sealed
    FROM kept_answers a WHERE a.tenant_id = for_tenant AND a.key = named AND a.expires_at > moment;
    outcome := coalesce(outcome, 'fresh');
END
$$
