-- verb: withdraw_rights
-- Take from each table's owner, which leasebox signs in as, the rights to what refuse_change() refuses there anyway. A
-- foreign key locks the row that it points at, and to lock wants UPDATE of some column: of the key's own, which the
-- trigger goes on refusing to change. The owner can give all of it back to itself; what that leads to, the seals show.
-- Once more after a restore that left rights out: nothing is lost by it.
CREATE FUNCTION withdraw_rights() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    kept record;
BEGIN
    PERFORM pg_advisory_xact_lock(7306852211);  -- two at once would both write the same catalogue rows
    FOR kept IN
        SELECT c.oid::regclass AS name, c.relowner::regrole AS owner, bit_or(t.tgtype) AS refused,
               (SELECT string_agg(DISTINCT quote_ident(a.attname), ', ')
                FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (k.confkey)
                WHERE k.contype = 'f' AND k.confrelid = c.oid) AS referred
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE t.tgfoid = 'refuse_change'::regproc AND t.tgqual IS NULL
        GROUP BY c.oid, c.relowner ORDER BY c.relname
    LOOP
        -- Bits of tgtype: 8 DELETE, 16 UPDATE, 32 TRUNCATE.
        IF kept.refused & 8 > 0 THEN
            EXECUTE format('REVOKE DELETE, TRUNCATE ON %s FROM %s', kept.name, kept.owner);
        END IF;
        IF kept.refused & 16 > 0 THEN
            EXECUTE format('REVOKE UPDATE ON %s FROM %s', kept.name, kept.owner);
            IF kept.referred IS NOT NULL THEN
                EXECUTE format('GRANT UPDATE (%s) ON %s TO %s', kept.referred, kept.name, kept.owner);
            END IF;
        END IF;
    END LOOP;
END
$$;

-- verb: use_key
-- Note that a claim's key is in use: nobody is shown it again.
CREATE FUNCTION use_key(of_token bytea) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    UPDATE api_keys SET awaited = false WHERE token_hash = of_token AND awaited;
    UPDATE claims SET sealed_key = NULL WHERE key_hash = of_token AND sealed_key IS NOT NULL;
END
$$;
