-- Removes what is too old or too many, some at a time. Returns 0 at the end; 1 if there may be more to
-- remove; 2 if there is more to look at. One node does it at a time. What is younger than the grace
-- stays, however many there are: nodes that are a moment behind still read it from here.
--
-- What seems to be of tomorrow and later is from when the server's clock was wrong: see
-- `tavern.clock()`. The grace does not keep it; how old it is, what comes after it tells.
CREATE OR REPLACE FUNCTION tavern.sweep(
    p_namespace int4, p_log text, p_rules int8, r_patterns text[], r_width int4, r_keeps int4[],
    r_ages int8[], grace int8, dedup_window int8, budget int4
) RETURNS int4 LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    ns tavern.namespace;
    head int8;
    clock int8;
    tomorrow int8;
    youngest int8;
    reach int8;
    looked int8;
    old int8;
    looked_old int8;
    bottom int8;
    r record;
    cut int8;
    rule int4;
    gone int8[];
    removed int4 := 0;
    passed int8;
    looked_ids int8;
BEGIN
    IF NOT pg_try_advisory_xact_lock(1952545399, p_namespace) THEN RETURN 0; END IF;
    SELECT * INTO ns FROM tavern.namespace n WHERE n.id = p_namespace;
    IF NOT FOUND OR ns.log <> p_log OR ns.rules <> p_rules THEN RETURN 0; END IF;
    SELECT e.seq, e.appended INTO head, clock FROM tavern.entry e
        WHERE e.namespace = p_namespace ORDER BY e.seq DESC LIMIT 1;
    clock := tavern.clock(clock);
    tomorrow := clock + 86400000;
    DELETE FROM tavern.live v
        WHERE v.namespace = p_namespace AND (v.at < clock - 10000 OR v.at > tomorrow);
    IF head IS NULL THEN RETURN 0; END IF;
    SELECT min(a) INTO youngest FROM unnest(r_ages) AS t(a) WHERE a > 0;
    -- As far as the grace lets, from where it was left.
    SELECT max(x.seq), count(*) INTO reach, looked FROM (
        SELECT e.seq, e.appended FROM tavern.entry e
        WHERE e.namespace = p_namespace AND e.seq > ns.swept AND e.seq <= head
        ORDER BY e.seq LIMIT budget) x
    WHERE x.appended <= clock - grace OR x.appended > tomorrow;
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
        WHERE e.namespace = p_namespace AND e.seq > bottom AND e.seq <= head AND youngest IS NOT NULL
        ORDER BY e.seq LIMIT budget) x
    WHERE x.appended <= clock - greatest(youngest, grace) OR x.appended > tomorrow;
    FOR r IN
        SELECT l.id, l.topic, l.floor FROM tavern.lane l WHERE l.id IN (
            SELECT e.lane FROM tavern.entry e
                WHERE e.namespace = p_namespace AND e.seq > ns.swept AND e.seq <= reach
            UNION
            SELECT e.lane FROM tavern.entry e
                WHERE e.namespace = p_namespace AND e.seq > bottom AND e.seq <= old)
    LOOP
        rule := tavern.rule(r.topic, r_patterns, r_width);
        cut := tavern.cut(r.id, r.floor, r_keeps[rule], r_ages[rule], clock);
        CONTINUE WHEN cut <= r.floor;
        -- No further than was looked: a call must not take long, however much there is. Nor from
        -- further down than what is left: what was removed there may not be vacuumed yet.
        WITH deleted AS (
            DELETE FROM tavern.entry e
            WHERE e.lane = r.id AND e.seq > r.floor AND e.seq <= least(cut, greatest(reach, old))
                AND e.seq < head AND (e.appended <= clock - grace OR e.appended > tomorrow)
            RETURNING e.seq)
        SELECT array_agg(seq ORDER BY seq DESC) INTO gone FROM deleted;
        CONTINUE WHEN gone IS NULL;
        removed := removed + array_length(gone, 1);
        IF gone[array_length(gone, 1)] <= ns.ids THEN
            DELETE FROM tavern.given g
                WHERE g.namespace = p_namespace AND g.seq = ANY (gone) AND g.seq <= ns.ids;
        END IF;
        UPDATE tavern.lane l SET floor = greatest(l.floor, gone[1]),
            silent = CASE WHEN EXISTS (SELECT FROM tavern.entry e WHERE e.lane = r.id) THEN NULL
                ELSE clock END
            WHERE l.id = r.id;
    END LOOP;

    DELETE FROM tavern.sent s WHERE ctid = ANY (ARRAY(
        SELECT x.ctid FROM tavern.sent x
        WHERE x.namespace = p_namespace AND x.at < clock - dedup_window LIMIT budget));
    -- Ids, each looked at once, when it is old enough: what has an entry then goes with it.
    SELECT coalesce(min(x.seq) FILTER (WHERE NOT x.is_old) - 1, max(x.seq)),
            count(*) FILTER (WHERE x.is_old)
        INTO passed, looked_ids FROM (
            SELECT g.seq, g.at < clock - dedup_window OR g.at > tomorrow AS is_old
            FROM tavern.given g
            WHERE g.namespace = p_namespace AND g.seq > ns.ids ORDER BY g.seq LIMIT budget) x;
    IF passed > ns.ids THEN
        DELETE FROM tavern.given g
            WHERE g.namespace = p_namespace AND g.seq > ns.ids AND g.seq <= passed AND NOT EXISTS (
                SELECT FROM tavern.entry e
                WHERE e.namespace = p_namespace AND e.seq = g.seq AND e.lane = g.lane);
    END IF;

    -- Other rules may have come meanwhile, for which everything is looked at anew.
    UPDATE tavern.namespace n
        SET swept = coalesce(reach, n.swept), ids = greatest(n.ids, passed),
            aged = CASE WHEN looked_old = budget THEN old ELSE 0 END
        WHERE n.id = p_namespace AND n.rules = ns.rules
            AND (reach IS NOT NULL OR old IS NOT NULL OR n.aged > 0 OR passed > n.ids);
    RETURN CASE WHEN looked = budget OR looked_ids = budget OR (looked_old = budget AND removed > 0)
            THEN 1
        WHEN looked_old = budget THEN 2 ELSE 0 END;
END $$;

-- Folds lanes of which nothing is left for long into the horizon. Nobody appends meanwhile: in a
-- transaction of its own, so that nothing else is locked when it waits for that. Returns whether there
-- may be more to do.
CREATE OR REPLACE FUNCTION tavern.forget(
    p_namespace int4, p_log text, lane_memory int8, budget int4
) RETURNS boolean LANGUAGE plpgsql VOLATILE
SET search_path = pg_catalog SET enable_seqscan = off AS $$
#variable_conflict use_column
DECLARE
    clock int8;
    looked int4;
    forgotten int8;
BEGIN
    SELECT tavern.clock((SELECT e.appended FROM tavern.entry e
            WHERE e.namespace = n.id ORDER BY e.seq DESC LIMIT 1))
        INTO clock FROM tavern.namespace n WHERE n.id = p_namespace AND n.log = p_log;
    IF NOT FOUND OR NOT EXISTS (SELECT FROM tavern.lane l
        WHERE l.namespace = p_namespace AND l.silent < clock - lane_memory) THEN
        RETURN false;
    END IF;
    PERFORM pg_advisory_xact_lock(1952545398, p_namespace);
    WITH silent AS (
        SELECT x.id FROM tavern.lane x
        WHERE x.namespace = p_namespace AND x.silent < clock - lane_memory LIMIT budget
    ), spoken AS (
        UPDATE tavern.lane l SET silent = NULL
        WHERE l.id IN (SELECT id FROM silent)
            AND EXISTS (SELECT FROM tavern.entry e WHERE e.lane = l.id)
    ), forgotten AS (
        DELETE FROM tavern.lane l
        WHERE l.id IN (SELECT id FROM silent)
            AND NOT EXISTS (SELECT FROM tavern.entry e WHERE e.lane = l.id)
        RETURNING l.floor
    )
    SELECT max(f.floor), (SELECT count(*) FROM silent) INTO forgotten, looked FROM forgotten f;
    UPDATE tavern.namespace n SET horizon = greatest(n.horizon, forgotten)
        WHERE n.id = p_namespace AND forgotten IS NOT NULL;
    RETURN looked = budget;
END $$;
