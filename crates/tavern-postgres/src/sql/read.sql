-- The last seq of a lane that is removed or counts as removed.
CREATE OR REPLACE FUNCTION tavern.cut(c_lane int8, c_floor int8, keep int4, age int8, clock int8)
RETURNS int8 LANGUAGE sql STABLE SET search_path = pg_catalog AS $$
    SELECT greatest(c_floor,
        (SELECT e.seq FROM tavern.entry e WHERE e.lane = c_lane ORDER BY e.seq DESC OFFSET keep LIMIT 1),
        CASE WHEN age > 0 THEN
            (SELECT e.seq FROM tavern.entry e
                WHERE e.lane = c_lane AND e.seq > c_floor AND e.appended <= clock - age
                ORDER BY e.seq DESC LIMIT 1)
        END)
$$;

-- Which rule decides of a topic. Rules come some in a pattern, each a group of it: a session keeps
-- 32 patterns, and reads a further one anew each time. Each pattern has `width` rules, the last one less.
CREATE OR REPLACE FUNCTION tavern.rule(topic text, patterns text[], width int4) RETURNS int4
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog AS $$
DECLARE
    groups text[];
BEGIN
    FOR i IN 1 .. array_length(patterns, 1) LOOP
        groups := regexp_match(topic, patterns[i]);
        IF groups IS NOT NULL THEN
            FOR k IN 1 .. array_length(groups, 1) LOOP
                IF groups[k] IS NOT NULL THEN RETURN (i - 1) * width + k; END IF;
            END LOOP;
        END IF;
    END LOOP;
END $$;

-- A page, of one moment: STABLE, so that all of it is read in the caller's snapshot. Rules and
-- filters come as regular expressions, some in each; see `tavern.rule()`.
--
-- kind: (h)ead: seq, the horizon, log, epoch; (e)ntry; (f)loor: its seq; (x): there are more floors.
-- No row at all: the caller knows another log, or other rules, or the database does not write.
CREATE OR REPLACE FUNCTION tavern.page(
    p_namespace int4, p_after int8, p_to int8, p_limit int4, p_bytes int8, p_floors int4,
    p_topics text[], p_patterns text[], r_patterns text[], r_width int4, r_keeps int4[], r_ages int8[],
    r_log text, r_version int8
) RETURNS TABLE (kind text, seq int8, appended int8, topic text, scope text, record bytea)
LANGUAGE plpgsql STABLE SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
    ns tavern.namespace;
    head int8;
    clock int8;
    upto int8;
    r record;
    cuts jsonb := '{}';
    cut int8;
    rule int4;
    taken int4 := 0;
    size int8 := 0;
    floors int4 := 0;
    everything boolean := p_topics IS NULL;
BEGIN
    SELECT * INTO ns FROM tavern.namespace n WHERE n.id = p_namespace;
    IF NOT FOUND OR ns.log <> r_log OR ns.rules <> r_version
        OR current_setting('transaction_read_only')::bool THEN
        RETURN;
    END IF;
    SELECT e.seq, e.appended INTO head, clock FROM tavern.entry e
        WHERE e.namespace = p_namespace ORDER BY e.seq DESC LIMIT 1;
    head := coalesce(head, 0);
    clock := tavern.clock(clock);
    upto := least(p_to, head);
    RETURN QUERY SELECT 'h', head, ns.horizon, ns.log, ns.epoch, NULL::bytea;
    FOR r IN
        SELECT e.seq, e.lane, e.appended, e.record, l.topic, l.scope, l.floor
        FROM tavern.entry e JOIN tavern.lane l ON l.id = e.lane
        WHERE e.namespace = p_namespace AND e.seq > p_after AND e.seq <= upto
            AND (everything OR l.topic = ANY (p_topics)
                OR (l.topic ~ ANY (p_patterns) AND l.topic NOT LIKE '$%'))
        ORDER BY e.seq
    LOOP
        cut := (cuts ->> r.lane::text)::int8;
        IF cut IS NULL THEN
            rule := tavern.rule(r.topic, r_patterns, r_width);
            cut := tavern.cut(r.lane, r.floor, r_keeps[rule], r_ages[rule], clock);
            cuts := jsonb_set(cuts, ARRAY[r.lane::text], to_jsonb(cut));
            IF cut > p_after THEN
                floors := floors + 1;
                RETURN QUERY SELECT 'f', cut, NULL::int8, r.topic, r.scope, NULL::bytea;
            END IF;
        END IF;
        IF r.seq > cut THEN
            RETURN QUERY SELECT 'e', r.seq, r.appended, r.topic, r.scope, r.record;
            taken := taken + 1;
            size := size + octet_length(r.record);
            EXIT WHEN taken >= p_limit OR size >= p_bytes;
        END IF;
    END LOOP;
    FOR r IN
        SELECT l.id, l.topic, l.scope, l.floor FROM tavern.lane l
        WHERE l.namespace = p_namespace AND l.floor > p_after
            AND (everything OR l.topic = ANY (p_topics)
                OR (l.topic ~ ANY (p_patterns) AND l.topic NOT LIKE '$%'))
            AND NOT cuts ? l.id::text
    LOOP
        floors := floors + 1;
        IF floors > p_floors AND (everything OR array_length(p_patterns, 1) > 0) THEN
            RETURN QUERY SELECT 'x', NULL::int8, NULL::int8, NULL, NULL, NULL::bytea;
            EXIT;
        END IF;
        RETURN QUERY SELECT 'f', r.floor, NULL::int8, r.topic, r.scope, NULL::bytea;
    END LOOP;
END $$;

-- What is new of entries and live messages, in the order of the log, of one moment. A function, so
-- that a session plans it once. Either ends before it has too many bytes, behind one at least.
--
-- kind: (h)ead, always: log, epoch, `tavern.server()`; (e)ntry; (l)ive message: its number.
CREATE OR REPLACE FUNCTION tavern.follow(
    f_namespace int4, f_after int8, f_live int8, f_limit int4, f_bytes int8
) RETURNS TABLE (
    kind text, seq int8, appended int8, record bytea, log text, epoch text, server text
) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'tavern: the server is a replica' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    RETURN QUERY SELECT 'h', NULL::int8, NULL::int8, NULL::bytea, n.log, n.epoch,
        -- As `tavern.server()`.
        substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
            || '-' || (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8
        FROM tavern.namespace n WHERE n.id = f_namespace;
    RETURN QUERY SELECT 'e', e.seq, e.appended, e.record, NULL::text, NULL::text, NULL::text
        FROM (
            SELECT x.seq, x.appended, x.record,
                sum(octet_length(x.record)) OVER (ORDER BY x.seq) - octet_length(x.record) AS before
            FROM (
                SELECT * FROM tavern.entry y WHERE y.namespace = f_namespace AND y.seq > f_after
                ORDER BY y.seq LIMIT f_limit
            ) x
        ) e WHERE e.before < f_bytes ORDER BY e.seq;
    RETURN QUERY SELECT 'l', v.number, NULL::int8, v.record, NULL::text, NULL::text, NULL::text
        FROM (
            SELECT x.number, x.record,
                sum(octet_length(x.record)) OVER (ORDER BY x.number) - octet_length(x.record) AS before
            FROM (
                SELECT * FROM tavern.live y WHERE y.namespace = f_namespace AND y.number > f_live
                ORDER BY y.number LIMIT f_limit
            ) x
        ) v WHERE v.before < f_bytes ORDER BY v.number;
END $$;

-- What SQL has published, in the order in which it was; across transactions in that
-- of the numbers. The sum stops before it is too much, behind one message at least. What is too large
-- for anybody stays where it is: fetching it might take longer than the link is waited for.
--
-- Whole: all of it; else what is behind `w_after`, the newest at the moment `w_since`. Nothing that may
-- be seen now is before that, unless a transaction that was under way then has ended: then it is whole
-- all the same, for a transaction's messages are one behind the other.
--
-- The first row is of the moment: number 0, as topic what is under way, as event whether it is whole.
--
-- By the index, whatever the statistics say: they are of a moment at which the table was empty.
CREATE OR REPLACE FUNCTION tavern.waiting(
    w_namespace text, w_after int8, w_since text, w_limit int8, w_bytes int8, w_max int4
) RETURNS TABLE (
    number int8, topic text, data text, event text, id text, scope text, ttl int8, waited int8,
    size int4
) LANGUAGE plpgsql STABLE
SET search_path = pg_catalog SET plan_cache_mode = force_generic_plan
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
DECLARE
    whole boolean := w_since IS NULL OR EXISTS (
        SELECT FROM pg_snapshot_xip(w_since::pg_snapshot) x
        WHERE pg_visible_in_snapshot(x, pg_current_snapshot()));
BEGIN
    RETURN QUERY SELECT 0::int8, pg_current_snapshot()::text, NULL, CASE WHEN whole THEN 'whole' END,
        NULL, NULL, NULL::int8, 0::int8, 0;
    IF whole THEN w_after := 0; END IF;
    RETURN QUERY
        SELECT o.number, o.topic, CASE WHEN o.size <= w_max THEN o.data END, o.event, o.id, o.scope,
            o.ttl, o.waited, o.size
        FROM (
            SELECT x.*, octet_length(x.data) AS size,
                greatest(extract(epoch FROM clock_timestamp() - x.at) * 1000, 0)::int8 AS waited,
                sum(octet_length(x.data)) OVER (ORDER BY x.number) - octet_length(x.data) AS before
            FROM (
                SELECT * FROM tavern.outbox q
                WHERE q.namespace = w_namespace AND q.number > w_after
                ORDER BY q.number LIMIT w_limit
            ) x
        ) o WHERE o.before < w_bytes ORDER BY o.number;
END $$;
