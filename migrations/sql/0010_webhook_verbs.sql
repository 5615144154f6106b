-- Verbs of webhooks that stand between a fact and its request: one round trip each. Every statement of a function
-- sees what was committed before it, so what is looked at under a lock is what the lock protects.

-- verb: fan_out_facts
-- Deliveries of the next facts behind the cursor for each enabled endpoint that wants them. The endpoints are looked at
-- again once their lanes are locked: none of them is being disabled then. An id's time is the fact's. The facts are
-- fetched one by one by their ids, because a plan that was made when there were few would read them all.
CREATE FUNCTION fan_out_facts(
    p_most int, p_types text[], p_every text, p_at timestamptz, OUT passed bigint, OUT made bigint
) LANGUAGE plpgsql AS $$
DECLARE
    begun bigint;
    reached bigint;
    ids uuid[];
    tenants uuid[];
    mailboxes uuid[];
    types text[];
    moments timestamptz[];
    wanted uuid[];
BEGIN
    made := 0;
    SELECT position INTO begun FROM webhook_cursor WHERE one = 1 FOR UPDATE;
    SELECT count(*), max(news.position), array_agg(f.id), array_agg(f.tenant_id), array_agg(f.mailbox_id),
        array_agg(f.type), array_agg(f.at) INTO passed, reached, ids, tenants, mailboxes, types, moments
    FROM (SELECT position, fact_id FROM fact_positions WHERE position > begun ORDER BY position LIMIT p_most) AS news
    CROSS JOIN LATERAL (SELECT * FROM facts WHERE id = news.fact_id OFFSET 0) AS f;
    IF passed = 0 THEN
        RETURN;
    END IF;
    SELECT array_agg(locked.webhook_id) INTO wanted FROM (
        SELECT l.webhook_id FROM webhook_lanes l WHERE l.webhook_id IN (
            SELECT w.id FROM webhooks w JOIN unnest(tenants, mailboxes, types) AS f (tenant_id, mailbox_id, type)
                ON w.tenant_id = f.tenant_id
            WHERE f.type = ANY (p_types) AND w.status = 'enabled'
                AND (f.type = ANY (w.event_types) OR p_every = ANY (w.event_types))
                AND (w.mailbox_ids IS NULL OR f.mailbox_id = ANY (w.mailbox_ids)))
        ORDER BY l.webhook_id FOR UPDATE) AS locked;
    IF wanted IS NOT NULL THEN
        WITH fresh AS (
            INSERT INTO webhook_deliveries
                (id, tenant_id, webhook_id, event_id, event_type, state, attempts, step, next_at, created_at)
            SELECT id_at(f.at), f.tenant_id, w.id, f.id, f.type, 'pending', 0, 0, p_at, p_at
            FROM webhooks w JOIN unnest(ids, tenants, mailboxes, types, moments)
                AS f (id, tenant_id, mailbox_id, type, at) ON f.tenant_id = w.tenant_id
            WHERE w.id = ANY (wanted) AND w.status = 'enabled' AND f.type = ANY (p_types)
                AND (f.type = ANY (w.event_types) OR p_every = ANY (w.event_types))
                AND (w.mailbox_ids IS NULL OR f.mailbox_id = ANY (w.mailbox_ids))
            ON CONFLICT (webhook_id, event_id) DO NOTHING
            RETURNING webhook_id
        ), due AS (
            UPDATE webhook_lanes SET due_at = least(due_at, greatest(resting_until, p_at))
            WHERE webhook_id IN (SELECT webhook_id FROM fresh)
        )
        SELECT count(*) INTO made FROM fresh;
    END IF;
    UPDATE webhook_cursor SET position = reached WHERE one = 1;
END
$$

-- verb: claim_deliveries
-- Take due deliveries: of each lane as many as it is wide, less those that this process has under way there. Lanes that
-- others hold are passed over. A claim that ran out leaves the try that nobody lived to tell about on record.
-- The commit waits for no disk: a claim that is lost with the server's memory is made again, under the same webhook-id.
CREATE FUNCTION claim_deliveries(
    p_at timestamptz, p_claim interval, p_places int, p_lanes int, p_busy uuid[], p_counts int[],
    p_proven int, p_new int, p_failing int
) RETURNS TABLE (
    id uuid, tenant_id uuid, webhook_id uuid, event_id uuid, event_type text, attempts int, step smallint,
    target_url text, mailbox_id uuid, lease_id uuid, payload jsonb, happened_at timestamptz,
    numbers int[], kids text[], sealed bytea[], more boolean
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    lanes uuid[];
    rooms int[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT array_agg(found.lane), array_agg(found.room) INTO lanes, rooms FROM (
        SELECT l.webhook_id AS lane, CASE WHEN l.failures > 0 THEN p_failing WHEN l.succeeded_at IS NULL THEN p_new
            ELSE p_proven END - coalesce(b.count, 0) AS room
        FROM webhook_lanes l LEFT JOIN unnest(p_busy, p_counts) AS b (lane, count) ON b.lane = l.webhook_id
        WHERE l.due_at <= p_at AND (l.resting_until IS NULL OR l.resting_until <= p_at)
            AND coalesce(b.count, 0) < CASE WHEN l.failures > 0 THEN p_failing WHEN l.succeeded_at IS NULL THEN p_new
                ELSE p_proven END
        ORDER BY l.due_at LIMIT p_lanes FOR UPDATE OF l SKIP LOCKED) AS found;
    IF lanes IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH due AS (
        SELECT d.id, d.state, d.next_at, d.attempts
        FROM unnest(lanes, rooms) AS lane (webhook_id, room)
        CROSS JOIN LATERAL (
            SELECT w.id, w.state, w.next_at, w.attempts FROM webhook_deliveries w
            WHERE w.webhook_id = lane.webhook_id AND w.next_at <= p_at ORDER BY w.next_at, w.id LIMIT lane.room
        ) d
        LIMIT p_places
    ), lost AS (
        INSERT INTO webhook_attempts (delivery_id, number, at, error)
        SELECT due.id, due.attempts, due.next_at - p_claim, 'unknown' FROM due WHERE due.state = 'delivering'
        ON CONFLICT DO NOTHING
    ), taken AS (
        UPDATE webhook_deliveries d
        SET state = 'delivering', attempts = d.attempts + 1, next_at = p_at + p_claim
        FROM due WHERE d.id = due.id
        RETURNING d.id, d.tenant_id, d.webhook_id, d.event_id, d.event_type, d.payload, d.attempts, d.step, d.created_at
    ), moved AS (
        UPDATE webhook_lanes l SET due_at = least(
            (SELECT p_at + p_claim FROM taken WHERE taken.webhook_id = l.webhook_id LIMIT 1),
            (SELECT greatest(d.next_at, l.resting_until) FROM webhook_deliveries d
                WHERE d.webhook_id = l.webhook_id AND d.next_at IS NOT NULL AND d.id NOT IN (SELECT due.id FROM due)
                ORDER BY d.next_at LIMIT 1))
        WHERE l.webhook_id = ANY (lanes)
        RETURNING l.webhook_id, l.due_at
    )
    SELECT t.id, t.tenant_id, t.webhook_id, t.event_id, t.event_type, t.attempts, t.step, w.target_url, f.mailbox_id,
        f.lease_id, coalesce(t.payload, f.payload, '{}'), coalesce(f.at, t.created_at), s.numbers, s.kids, s.sealed,
        m.due_at <= p_at
    FROM taken t JOIN moved m ON m.webhook_id = t.webhook_id JOIN webhooks w ON w.id = t.webhook_id
    LEFT JOIN facts f ON f.id = t.event_id
    CROSS JOIN LATERAL (
        SELECT array_agg(x.number ORDER BY x.number DESC) AS numbers, array_agg(x.kid ORDER BY x.number DESC) AS kids,
            array_agg(x.sealed ORDER BY x.number DESC) AS sealed
        FROM webhook_secrets x
        WHERE x.webhook_id = t.webhook_id AND (x.expires_at IS NULL OR x.expires_at > p_at)
    ) s;
END
$$
