-- Removes what is too old or too many, some at a time. Returns whether there may be more to do. One
-- node does it at a time. What is younger than the grace stays, however many there are: nodes that
-- are a moment behind still read it from here.
CREATE OR REPLACE FUNCTION tavern.sweep(
    p_namespace int4, r_patterns text[], r_keeps int4[], r_ages int8[],
    grace int8, dedup_window int8, lane_memory int8, budget int4
) RETURNS boolean LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog AS $$
#variable_conflict use_column
DECLARE
    ns tavern.namespace;
    head int8;
    clock int8;
    youngest int8;
    reach int8;
    looked int8;
    old int8;
    looked_old int8;
    bottom int8;
    r record;
    cut int8;
    rule int4;
    gone int8;
    removed int4;
    total int4 := 0;
    more boolean := false;
    forgotten int8;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1952545399, p_namespace) THEN RETURN false; END IF;
    SELECT * INTO ns FROM tavern.namespace n WHERE n.id = p_namespace;
    SELECT e.seq, e.appended INTO head, clock FROM tavern.entry e
        WHERE e.namespace = p_namespace ORDER BY e.seq DESC LIMIT 1;
    IF head IS NULL THEN RETURN false; END IF;
    clock := greatest(tavern.now_ms(), clock);
    SELECT min(a) INTO youngest FROM unnest(r_ages) AS t(a) WHERE a > 0;
    -- As far as the grace lets, from where it was left.
    SELECT max(x.seq), count(*) INTO reach, looked FROM (
        SELECT e.seq, e.appended FROM tavern.entry e
        WHERE e.namespace = p_namespace AND e.seq > ns.swept ORDER BY e.seq LIMIT budget) x
    WHERE x.appended <= clock - grace;
    bottom := ns.aged;
    IF bottom = 0 AND (SELECT count(*) <= 2000 FROM (
        SELECT FROM tavern.lane l WHERE l.namespace = p_namespace LIMIT 2001) l) THEN
        -- The beginning is where something is left. Below may lie any number of removed rows that
        -- a transaction which stays open keeps from being vacuumed.
        SELECT coalesce(min(e.seq) - 1, head) INTO bottom FROM tavern.lane l CROSS JOIN LATERAL (
            SELECT x.seq FROM tavern.entry x WHERE x.lane = l.id AND x.seq > l.floor
            ORDER BY x.seq LIMIT 1) e
        WHERE l.namespace = p_namespace;
    END IF;
    SELECT max(x.seq), count(*) INTO old, looked_old FROM (
        SELECT e.seq, e.appended FROM tavern.entry e
        WHERE e.namespace = p_namespace AND e.seq > bottom AND youngest IS NOT NULL
        ORDER BY e.seq LIMIT budget) x
    WHERE x.appended <= clock - greatest(youngest, grace);
    FOR r IN
        SELECT l.id, l.topic, l.floor FROM tavern.lane l WHERE l.id IN (
            SELECT e.lane FROM tavern.entry e
                WHERE e.namespace = p_namespace AND e.seq > ns.swept AND e.seq <= reach
            UNION
            SELECT e.lane FROM tavern.entry e
                WHERE e.namespace = p_namespace AND e.seq > bottom AND e.seq <= old)
    LOOP
        SELECT t.number INTO rule FROM unnest(r_patterns) WITH ORDINALITY AS t(pattern, number)
            WHERE r.topic ~ t.pattern ORDER BY t.number LIMIT 1;
        cut := tavern.cut(r.id, r.floor, r_keeps[rule], r_ages[rule], clock);
        CONTINUE WHEN cut <= r.floor;
        -- No further than was looked: a call must not take long, however much there is. Nor from
        -- further down than what is left: what was removed there may not be vacuumed yet.
        WITH deleted AS (
            DELETE FROM tavern.entry e
            WHERE e.lane = r.id AND e.seq > r.floor AND e.seq <= least(cut, greatest(reach, old))
                AND e.seq < head AND e.appended <= clock - grace
            RETURNING e.seq)
        SELECT max(seq), count(*) INTO gone, removed FROM deleted;
        CONTINUE WHEN removed = 0;
        total := total + removed;
        UPDATE tavern.lane l SET floor = greatest(l.floor, gone),
            silent = CASE WHEN EXISTS (SELECT FROM tavern.entry e WHERE e.lane = r.id) THEN NULL
                ELSE clock END
            WHERE l.id = r.id;
    END LOOP;
    UPDATE tavern.namespace n
        SET swept = coalesce(reach, n.swept), aged = CASE WHEN looked_old = budget THEN old ELSE 0 END
        WHERE n.id = p_namespace AND (reach IS NOT NULL OR old IS NOT NULL OR n.aged > 0);
    more := looked = budget OR (looked_old = budget AND total > 0);

    DELETE FROM tavern.sent s WHERE ctid = ANY (ARRAY(
        SELECT x.ctid FROM tavern.sent x
        WHERE x.namespace = p_namespace AND x.at < clock - dedup_window LIMIT budget));
    DELETE FROM tavern.given g WHERE ctid = ANY (ARRAY(
        SELECT x.ctid FROM tavern.given x JOIN tavern.lane l ON l.id = x.lane
        WHERE l.namespace = p_namespace AND x.at < clock - dedup_window AND NOT EXISTS (
            SELECT FROM tavern.entry e
            WHERE e.namespace = p_namespace AND e.seq = x.seq AND e.lane = x.lane)
        LIMIT budget));
    DELETE FROM tavern.live v WHERE v.namespace = p_namespace AND v.at < clock - 10000;

    -- Lanes of which nothing is left for long are folded into the horizon. Nobody appends meanwhile.
    IF EXISTS (SELECT FROM tavern.lane l
        WHERE l.namespace = p_namespace AND l.silent < clock - lane_memory) THEN
        PERFORM pg_advisory_xact_lock(1952545398, p_namespace);
        WITH forgotten AS (
            DELETE FROM tavern.lane l WHERE l.id = ANY (ARRAY(
                SELECT x.id FROM tavern.lane x
                WHERE x.namespace = p_namespace AND x.silent < clock - lane_memory LIMIT budget))
                AND NOT EXISTS (SELECT FROM tavern.entry e WHERE e.lane = l.id)
            RETURNING l.floor)
        SELECT max(floor) INTO forgotten FROM forgotten;
        UPDATE tavern.namespace n SET horizon = greatest(n.horizon, forgotten)
            WHERE n.id = p_namespace AND forgotten IS NOT NULL;
        UPDATE tavern.lane l SET silent = NULL
            WHERE l.namespace = p_namespace AND l.silent < clock - lane_memory
                AND EXISTS (SELECT FROM tavern.entry e WHERE e.lane = l.id);
    END IF;
    RETURN more;
END $$;
