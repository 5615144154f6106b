-- verb: number_facts
-- Give positions to committed facts that have none, at most so many: how many, and of which tenants. One at a time: a
-- second caller gets 0 at once. A function, so that a call costs one round trip, and with sequential scans off, because
-- the planner cannot know that what is new is always little.
CREATE FUNCTION number_facts(most integer, OUT numbered integer, OUT tenants uuid[]) LANGUAGE plpgsql
SET enable_seqscan = off AS $$
DECLARE
    line fact_sequence%ROWTYPE;
    before pg_snapshot;
    present pg_snapshot;
    open_then xid8[];
    begun xid8;
    ending xid8;
    is_restored boolean;
BEGIN
    SELECT * INTO line FROM fact_sequence WHERE one = 1 FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        numbered := 0;
        RETURN;
    END IF;
    before := line.seen::pg_snapshot;
    -- Taken before the look: what becomes visible in between is numbered now and found to be so next time.
    present := pg_current_snapshot();
    open_then := ARRAY(SELECT pg_snapshot_xip(before));
    begun := pg_snapshot_xmax(before);
    ending := pg_snapshot_xmax(present);
    -- A database that was restored into a new cluster counts transactions from a lower number again: look at all once.
    is_restored := ending < begun;
    IF is_restored THEN
        WITH fresh AS (
            SELECT id, tenant_id, at, xid FROM facts
            WHERE NOT EXISTS (SELECT FROM fact_positions WHERE fact_id = facts.id)
            ORDER BY at, xid, id LIMIT most
        ), placed AS (
            INSERT INTO fact_positions (position, fact_id, tenant_id)
            SELECT line.next_position + row_number() OVER (ORDER BY at, xid, id) - 1, id, tenant_id FROM fresh
            RETURNING fact_positions.tenant_id
        )
        SELECT count(*), array_agg(DISTINCT tenant_id) INTO numbered, tenants FROM placed;
    ELSE
        -- What the snapshot did not show: facts of transactions that ran then, and of later ones. Those beyond the
        -- present one's end were copied here by pg_restore, and had their turn.
        WITH unseen AS (
            SELECT id, tenant_id, at, xid FROM facts WHERE xid = ANY (open_then)
            UNION ALL
            SELECT id, tenant_id, at, xid FROM facts WHERE xid >= begun AND xid < ending
        ), fresh AS (
            SELECT * FROM unseen WHERE (SELECT position FROM fact_positions WHERE fact_id = unseen.id) IS NULL
            ORDER BY xid, id LIMIT most
        ), placed AS (
            INSERT INTO fact_positions (position, fact_id, tenant_id)
            SELECT line.next_position + row_number() OVER (ORDER BY at, xid, id) - 1, id, tenant_id FROM fresh
            RETURNING fact_positions.tenant_id
        )
        SELECT count(*), array_agg(DISTINCT tenant_id) INTO numbered, tenants FROM placed;
    END IF;
    -- A full batch may have left some of what this snapshot shows, so the next look starts from the old one again.
    -- Where nothing was written at all since, nothing is written here either.
    IF numbered > 0 OR is_restored OR EXISTS (SELECT FROM facts WHERE xid >= begun AND xid < ending) THEN
        UPDATE fact_sequence SET next_position = line.next_position + numbered,
            seen = CASE WHEN numbered < most THEN present::text ELSE line.seen END
        WHERE one = 1;
    END IF;
END
$$
