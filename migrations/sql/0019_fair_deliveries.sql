-- The two verbs of 0010 between a fact and its request, once more: places are shared among tenants, and a fact that a
-- disabled endpoint would have been told is visibly dead.

-- verb: fan_out_facts
-- Deliveries of the next facts behind the cursor for each endpoint that wants them: dead ones, where it was disabled
-- after the fact. The endpoints are looked at again once their lanes are locked: none of them is being disabled then.
-- An id's time is the fact's. The facts are fetched one by one by their ids, because a plan that was made when there
-- were few would read them all. made: those that wait for a try.
CREATE OR REPLACE FUNCTION fan_out_facts(
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
            SELECT w.id FROM webhooks w JOIN unnest(tenants, mailboxes, types, moments)
                AS f (tenant_id, mailbox_id, type, at) ON f.tenant_id = w.tenant_id
            WHERE f.type = ANY (p_types) AND (w.status = 'enabled' OR w.disabled_at > f.at)
                AND (f.type = ANY (w.event_types) OR p_every = ANY (w.event_types))
                AND (w.mailbox_ids IS NULL OR f.mailbox_id = ANY (w.mailbox_ids)))
        ORDER BY l.webhook_id FOR UPDATE) AS locked;
    IF wanted IS NOT NULL THEN
        WITH fresh AS (
            INSERT INTO webhook_deliveries (id, tenant_id, webhook_id, event_id, event_type, state,
                attempts, step, next_at, created_at, finished_at)
            SELECT id_at(f.at), f.tenant_id, w.id, f.id, f.type,
                CASE w.status WHEN 'enabled' THEN 'pending' ELSE 'dead' END, 0, 0,
                CASE w.status WHEN 'enabled' THEN p_at END, p_at, CASE w.status WHEN 'disabled' THEN p_at END
            FROM webhooks w JOIN unnest(ids, tenants, mailboxes, types, moments)
                AS f (id, tenant_id, mailbox_id, type, at) ON f.tenant_id = w.tenant_id
            WHERE w.id = ANY (wanted) AND f.type = ANY (p_types) AND (w.status = 'enabled' OR w.disabled_at > f.at)
                AND (f.type = ANY (w.event_types) OR p_every = ANY (w.event_types))
                AND (w.mailbox_ids IS NULL OR f.mailbox_id = ANY (w.mailbox_ids))
            ON CONFLICT (webhook_id, event_id) DO NOTHING
            RETURNING webhook_id, next_at
        ), due AS (
            UPDATE webhook_lanes SET due_at = least(due_at, greatest(resting_until, p_at))
            WHERE webhook_id IN (SELECT webhook_id FROM fresh WHERE next_at IS NOT NULL)
        )
        SELECT count(next_at) INTO made FROM fresh;
    END IF;
    UPDATE webhook_cursor SET position = reached WHERE one = 1;
END
$$

-- verb: claim_deliveries
-- Take due deliveries: of each lane as many as it is wide, less those that this process has under way there. A lane
-- whose tries take longer than p_quick_ms is slow, and the narrower the longer they take.
-- Places, quick and slow ones apart, are shared: first among tenants (turn by turn, each its lanes that have waited
-- longest), then among a tenant's lanes. Of no tenant more is taken than it has room: p_quick_room and p_slow_room,
-- unless p_tenants says otherwise. A lane that was served stands at the end of the line.
-- Lanes that others hold are passed over. A claim that ran out leaves the try that nobody lived to tell of on record.
-- The commit waits for no disk: a claim that is lost with the server's memory is made again, under the same webhook-id.
-- Sequential scans are off, tenants are fetched lane by lane, and one plan stands for all calls: no planner can know
-- that few of all lanes are due, and to plan anew takes longer than the work.
CREATE FUNCTION claim_deliveries(
    p_at timestamptz, p_claim interval, p_lanes int, p_quick int, p_slow int, p_busy uuid[], p_counts int[],
    p_tenants uuid[], p_quick_rooms int[], p_slow_rooms int[], p_quick_room int, p_slow_room int,
    p_proven int, p_new int, p_failing int, p_quick_ms int
) RETURNS TABLE (
    id uuid, tenant_id uuid, webhook_id uuid, event_id uuid, event_type text, attempts int, step smallint,
    target_url text, mailbox_id uuid, lease_id uuid, payload jsonb, happened_at timestamptz, created_at timestamptz,
    numbers int[], kids text[], sealed bytea[], slow boolean, more boolean, cut boolean
) LANGUAGE plpgsql
SET enable_seqscan = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
    lanes uuid[];
    owners uuid[];
    slows boolean[];
    rooms int[];
    limits int[];
    turns bigint[];
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT array_agg(found.lane), array_agg(found.owner), array_agg(found.slow), array_agg(found.room),
        array_agg(found.most), array_agg(found.turn) INTO lanes, owners, slows, rooms, limits, turns
    FROM (
        SELECT ranked.*
        FROM (
            SELECT waiting.*,
                row_number() OVER (PARTITION BY waiting.owner, waiting.slow ORDER BY waiting.due_at) AS turn
            FROM (
                SELECT l.webhook_id AS lane, l.due_at, w.tenant_id AS owner, s.slow,
                    s.width - coalesce(b.count, 0) AS room,
                    CASE WHEN s.slow THEN coalesce(t.slow, p_slow_room) ELSE coalesce(t.quick, p_quick_room) END AS most
                FROM webhook_lanes l LEFT JOIN unnest(p_busy, p_counts) AS b (lane, count) ON b.lane = l.webhook_id
                CROSS JOIN LATERAL (SELECT coalesce(l.pace_ms > p_quick_ms, false) AS slow, CASE
                    WHEN l.failures > 0 THEN p_failing WHEN l.succeeded_at IS NULL THEN p_new
                    WHEN l.pace_ms > p_quick_ms THEN least(greatest(8 * p_quick_ms / l.pace_ms, 1), p_proven)
                    ELSE p_proven END AS width) AS s
                CROSS JOIN LATERAL (SELECT x.tenant_id FROM webhooks x WHERE x.id = l.webhook_id OFFSET 0) AS w
                LEFT JOIN unnest(p_tenants, p_quick_rooms, p_slow_rooms) AS t (tenant, quick, slow)
                    ON t.tenant = w.tenant_id
                WHERE l.due_at <= p_at AND (l.resting_until IS NULL OR l.resting_until <= p_at)
                    AND coalesce(b.count, 0) < s.width
                    AND CASE WHEN s.slow THEN least(p_slow, coalesce(t.slow, p_slow_room))
                        ELSE least(p_quick, coalesce(t.quick, p_quick_room)) END > 0
                ORDER BY l.due_at LIMIT 4 * p_lanes) AS waiting
            ORDER BY turn, waiting.due_at) AS ranked
        CROSS JOIN LATERAL (
            SELECT FROM webhook_lanes l WHERE l.webhook_id = ranked.lane
                AND l.due_at <= p_at AND (l.resting_until IS NULL OR l.resting_until <= p_at)
            FOR UPDATE SKIP LOCKED) AS locked
        LIMIT p_lanes) AS found;
    IF lanes IS NULL THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH counted AS (
        SELECT lane.*, CASE WHEN lane.slow THEN p_slow ELSE p_quick END AS places, count(*) OVER of_owner
            * greatest(count(*) FILTER (WHERE lane.turn = 1) OVER (PARTITION BY lane.slow), 1) AS parts
        FROM unnest(lanes, owners, slows, rooms, limits, turns) WITH ORDINALITY
            AS lane (webhook_id, owner, slow, room, most, turn, place)
        WINDOW of_owner AS (PARTITION BY lane.owner, lane.slow)
    ), lane AS (
        SELECT counted.*, least(room, greatest((places + parts - 1) / parts, 1))::int AS share FROM counted
    ), due AS (
        SELECT * FROM (
            SELECT d.*, lane.webhook_id, lane.slow, lane.places, lane.most, lane.share < lane.room AS cut,
                row_number() OVER (PARTITION BY lane.slow ORDER BY lane.place, d.next_at, d.id) AS nth,
                row_number() OVER (
                    PARTITION BY lane.owner, lane.slow ORDER BY lane.place, d.next_at, d.id) AS nth_of_owner
            FROM lane CROSS JOIN LATERAL (
                SELECT w.id, w.state, w.next_at, w.attempts FROM webhook_deliveries w
                WHERE w.webhook_id = lane.webhook_id AND w.next_at <= p_at ORDER BY w.next_at, w.id LIMIT lane.share
            ) d
        ) AS each WHERE each.nth <= each.places AND each.nth_of_owner <= each.most
    ), lost AS (
        INSERT INTO webhook_attempts (delivery_id, number, at, error)
        SELECT due.id, due.attempts, due.next_at - p_claim, 'unknown' FROM due WHERE due.state = 'delivering'
        ON CONFLICT DO NOTHING
    ), taken AS (
        UPDATE webhook_deliveries d
        SET state = 'delivering', attempts = d.attempts + 1, next_at = p_at + p_claim
        FROM due WHERE d.id = due.id
        RETURNING d.id, d.tenant_id, d.webhook_id, d.event_id, d.event_type, d.payload, d.attempts, d.step,
            d.created_at, due.slow, due.cut
    ), moved AS (
        UPDATE webhook_lanes l SET due_at = least(
            (SELECT p_at + p_claim FROM taken WHERE taken.webhook_id = l.webhook_id LIMIT 1),
            (SELECT greatest(d.next_at, l.resting_until,
                    (SELECT p_at FROM taken WHERE taken.webhook_id = l.webhook_id LIMIT 1))
                FROM webhook_deliveries d
                WHERE d.webhook_id = l.webhook_id AND d.next_at IS NOT NULL AND d.id NOT IN (SELECT due.id FROM due)
                ORDER BY d.next_at LIMIT 1))
        WHERE l.webhook_id = ANY (lanes)
        RETURNING l.webhook_id, l.due_at
    )
    SELECT t.id, t.tenant_id, t.webhook_id, t.event_id, t.event_type, t.attempts, t.step, w.target_url, f.mailbox_id,
        f.lease_id, coalesce(t.payload, f.payload, '{}'), coalesce(f.at, t.created_at), t.created_at, s.numbers, s.kids,
        s.sealed, t.slow, m.due_at <= p_at, t.cut AND m.due_at <= p_at
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
