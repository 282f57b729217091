-- The server's clock, in milliseconds.
CREATE OR REPLACE FUNCTION tavern.now_ms() RETURNS int8 LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog
    AS $$ BEGIN RETURN (extract(epoch FROM clock_timestamp()) * 1000)::int8; END $$;

-- The log's clock, of which the newest entry has this: the server's, but it stands still where that
-- falls. Not where it falls by more than a day: then it was wrong before, and nothing would become
-- older until it is as late as that.
CREATE OR REPLACE FUNCTION tavern.clock(newest int8) RETURNS int8 LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog AS $$
DECLARE
    now int8 := (extract(epoch FROM clock_timestamp()) * 1000)::int8;
BEGIN
    RETURN CASE WHEN newest > now + 86400000 THEN now ELSE greatest(now, newest) END;
END $$;

-- What the server is, until it is started again or promoted: no two start in the same microsecond.
CREATE OR REPLACE FUNCTION tavern.server() RETURNS text LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog AS $$
BEGIN
    RETURN substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
        || '-' || (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8;
END $$;

-- What the database is: another one after a restart, a promotion, a restored backup, whether it was
-- the server's files or a dump; where the log's table was emptied or is a copy; after a crash. Moving
-- the table, as `VACUUM FULL` does, makes it another one, too.
CREATE OR REPLACE FUNCTION tavern.incarnation() RETURNS text LANGUAGE plpgsql VOLATILE
    SET search_path = pg_catalog AS $$
BEGIN
    INSERT INTO tavern.life (token) SELECT gen_random_uuid()::text
        WHERE NOT EXISTS (SELECT FROM tavern.life) ON CONFLICT DO NOTHING;
    RETURN (SELECT system_identifier FROM pg_control_system()) || '-' || tavern.server()
        || '-' || pg_relation_filepath(to_regclass('tavern.entry'))
        || '-' || (SELECT l.token FROM tavern.life l);
END $$;

-- Appends a batch as a whole or not at all. Called in a transaction of its own at READ COMMITTED:
-- every statement after the lock sees what the one who had it before has committed.
--
-- Lanes come once each; a message names its lane by number, from 1. A message without a key (node
-- NULL) comes from the outbox, under its number there, and counts only if it is still there.
--
-- word: ok, stale, absent; isolation, where the transaction is of another level, so that nothing was
-- done. outcomes: a letter a message: (s)tored, (d)uplicate, (c)onflict, (l)ive,
-- (g)one from the outbox. What is stored got the next seq from `first` on; `others` has the seqs of
-- duplicates and conflicts, in order.
CREATE OR REPLACE FUNCTION tavern.append(
    a_namespace int4, a_log text, a_rules int8, a_fresh text,
    known_epoch text, known_seq int8, dedup_window int8,
    topics text[], scopes text[], keeps int4[],
    m_lane int4[], m_node int8[], m_counter int8[], m_id text[], m_print text[],
    m_record bytea[], m_outbox int8[], careful boolean, patience int4,
    OUT word text, OUT epoch text, OUT first int8, OUT outcomes text, OUT others int8[]
) LANGUAGE plpgsql VOLATILE
-- Planning a batch anew takes longer than storing it, and the plan is always to look up by key:
-- tables through which much goes have more dead rows than the planner knows of.
SET search_path = pg_catalog SET plan_cache_mode = force_generic_plan SET enable_seqscan = off AS $$
#variable_conflict use_column
<<body>>
DECLARE
    ns_log text;
    ns_rules int8;
    ns_epoch text;
    ns_incarnation text;
    ns_name text;
    head int8;
    clock int8;
    now int8;
    alive text;
    moved boolean;
    emptied boolean := false;
    forked boolean := false;
    learned boolean := false;
    lost int8;
    lanes int8[];
    n int4 := coalesce(array_length(m_lane, 1), 0);
    single boolean;
    all_there boolean;
    stored int4[];
    added int4 := 0;
    special boolean;
    letter text;
    at int8;
    i int4;
    l int4;
    had record;
    there int8[];
    keys_known boolean;
    noted boolean;
    fork record;
    list text[];
    known int8;
    oldest int4;
    new_forks text;
BEGIN
    IF pg_is_in_recovery() THEN
        RAISE EXCEPTION 'tavern: the server is a replica' USING ERRCODE = 'read_only_sql_transaction';
    END IF;
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        word := 'isolation';
        RETURN;
    END IF;
    -- Who waits for a lock ends before its caller gives up: otherwise each that tries again leaves one
    -- behind that waits, on a connection of its own.
    word := set_config('lock_timeout', patience::text, true);
    PERFORM pg_advisory_xact_lock(1952545398, a_namespace);
    SELECT n.log, n.rules, n.epoch, n.forks, n.incarnation, n.name, e.seq, e.appended,
            (SELECT l.token FROM tavern.life l WHERE l.one)
        INTO ns_log, ns_rules, ns_epoch, new_forks, ns_incarnation, ns_name, head, clock, alive
        FROM tavern.namespace n LEFT JOIN LATERAL (
            SELECT x.seq, x.appended FROM tavern.entry x
            WHERE x.namespace = a_namespace ORDER BY x.seq DESC LIMIT 1
        ) e ON true
        WHERE n.id = a_namespace;
    IF NOT FOUND THEN word := 'absent'; RETURN; END IF;
    IF ns_log <> a_log OR ns_rules <> a_rules THEN word := 'stale'; RETURN; END IF;
    epoch := ns_epoch;
    -- As `tavern.clock()`.
    now := (extract(epoch FROM clock_timestamp()) * 1000)::int8;
    clock := CASE WHEN clock > now + 86400000 THEN now ELSE greatest(now, clock) END;
    -- As `tavern.incarnation()`, without the system's identifier, which is read from a file.
    moved := substr(ns_incarnation, strpos(ns_incarnation, '-') + 1) IS DISTINCT FROM
        substr(pg_walfile_name(pg_current_wal_insert_lsn()), 1, 8)
        || '-' || (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::int8
        || '-' || pg_relation_filepath(to_regclass('tavern.entry')) || '-' || alive;
    IF head IS NULL THEN
        -- The newest is never removed by a sweep. Where there was one, somebody has emptied the table:
        -- nothing gets a seq that anything else had, as far as anybody knows, nor the same epoch.
        SELECT greatest(n.horizon, n.swept, n.aged,
                (SELECT l.floor FROM tavern.lane l WHERE l.namespace = n.id AND l.floor > 0
                    ORDER BY l.floor DESC LIMIT 1),
                (SELECT max(s.seq + s.last - s.first) FROM tavern.sent s WHERE s.namespace = n.id),
                (SELECT g.seq FROM tavern.given g WHERE g.namespace = n.id
                    ORDER BY g.seq DESC LIMIT 1)),
                EXISTS (SELECT FROM tavern.lane l WHERE l.namespace = n.id)
            INTO head, emptied FROM tavern.namespace n WHERE n.id = a_namespace;
        emptied := emptied OR head > 0;
        moved := moved OR emptied;
    END IF;

    -- One message that comes alone is what somebody waits for: it goes without the machinery of sets,
    -- which takes most of its time.
    single := n = 1 AND array_length(topics, 1) = 1;
    -- The lanes' ids; new ones are made.
    FOR i IN 1 .. CASE WHEN array_length(topics, 1) > 0 THEN 2 ELSE 0 END LOOP
        IF single THEN
            lanes := ARRAY[(SELECT x.id FROM tavern.lane x
                WHERE x.namespace = a_namespace AND x.topic = topics[1] AND x.scope = scopes[1])];
            all_there := keeps[1] = 0 OR lanes[1] IS NOT NULL;
        ELSE
            SELECT array_agg(t.id ORDER BY t.number), bool_and(t.keep = 0 OR t.id IS NOT NULL)
                INTO lanes, all_there
                FROM (
                    SELECT t.number, t.keep, (SELECT x.id FROM tavern.lane x
                        WHERE x.namespace = a_namespace AND x.topic = t.topic AND x.scope = t.scope) AS id
                    FROM unnest(topics, scopes, keeps) WITH ORDINALITY AS t(topic, scope, keep, number)
                ) t;
        END IF;
        EXIT WHEN all_there;
        INSERT INTO tavern.lane (namespace, topic, scope)
            SELECT a_namespace, t.topic, t.scope
            FROM unnest(topics, scopes, keeps) WITH ORDINALITY AS t(topic, scope, keep, number)
            WHERE t.keep > 0 AND lanes[t.number] IS NULL
            ON CONFLICT DO NOTHING;
    END LOOP;

    -- Whether any of the keys may be known.
    IF single THEN
        keys_known := coalesce(m_counter[1] <= (SELECT s.last FROM tavern.sent s
            WHERE s.namespace = a_namespace AND s.node = m_node[1] ORDER BY s.last DESC LIMIT 1), false);
    ELSE
        SELECT EXISTS (
            SELECT FROM (
                SELECT k.node, min(k.counter) AS lowest
                FROM unnest(m_node, m_counter) AS k(node, counter)
                WHERE k.node IS NOT NULL GROUP BY k.node
            ) k
            WHERE k.lowest <= (SELECT s.last FROM tavern.sent s
                WHERE s.namespace = a_namespace AND s.node = k.node ORDER BY s.last DESC LIMIT 1)
        ) INTO keys_known;
    END IF;
    special := careful OR keys_known OR 0 = ANY (keeps)
        OR array_remove(m_id, NULL) <> '{}' OR array_remove(m_outbox, NULL) <> '{}';

    others := '{}';
    IF NOT special THEN
        added := n;
        outcomes := repeat('s', n);
    ELSE
        -- From the outbox it is taken here, once and for all.
        WITH taken AS (
            DELETE FROM tavern.outbox o
            WHERE o.namespace = ns_name AND o.number = ANY (array_remove(m_outbox, NULL))
            RETURNING o.number)
        SELECT coalesce(array_agg(number), '{}') INTO there FROM taken;
        stored := '{}';
        outcomes := '';
        FOR i IN 1 .. n LOOP
            l := m_lane[i];
            letter := 's';
            noted := false;
            IF m_outbox[i] IS NOT NULL AND NOT m_outbox[i] = ANY (there) THEN
                letter := 'g';
            ELSIF keeps[l] = 0 THEN
                letter := 'l';
                INSERT INTO tavern.live (namespace, at, record)
                    VALUES (a_namespace, clock, m_record[i]);
            ELSE
                IF m_node[i] IS NOT NULL AND (keys_known OR careful) THEN
                    SELECT s.seq + (m_counter[i] - s.first) INTO at FROM tavern.sent s
                        WHERE s.namespace = a_namespace AND s.node = m_node[i]
                            AND s.last >= m_counter[i] AND s.first <= m_counter[i]
                        ORDER BY s.last LIMIT 1;
                    IF FOUND THEN
                        letter := 'd';
                        noted := true;
                    END IF;
                END IF;
                IF letter = 's' AND m_id[i] IS NOT NULL THEN
                    SELECT g.seq, g.print, g.at INTO had FROM tavern.given g
                        WHERE g.lane = lanes[l] AND g.id = m_id[i];
                    -- While its entry is there an id stays, however old it is.
                    IF FOUND AND (had.at >= clock - dedup_window OR EXISTS (
                        SELECT FROM tavern.entry e
                        WHERE e.namespace = a_namespace AND e.seq = had.seq AND e.lane = lanes[l]))
                    THEN
                        at := had.seq;
                        letter := CASE WHEN had.print = m_print[i] THEN 'd' ELSE 'c' END;
                    END IF;
                END IF;
                IF letter = 's' THEN
                    stored := stored || i;
                    at := head + array_length(stored, 1);
                    IF m_id[i] IS NOT NULL THEN
                        INSERT INTO tavern.given AS g (namespace, lane, id, seq, print, at)
                            VALUES (a_namespace, lanes[l], m_id[i], at, m_print[i], clock)
                            ON CONFLICT (lane, id) DO UPDATE
                            SET seq = excluded.seq, print = excluded.print, at = excluded.at;
                    END IF;
                ELSE
                    others := others || at;
                END IF;
                -- A key of the outbox was never given out.
                IF m_node[i] IS NOT NULL AND letter IN ('s', 'd') AND NOT noted THEN
                    UPDATE tavern.sent s SET last = m_counter[i], at = clock
                        WHERE s.namespace = a_namespace AND s.node = m_node[i]
                            AND s.last = m_counter[i] - 1
                            AND s.seq + (m_counter[i] - s.first) = body.at;
                    IF NOT FOUND THEN
                        INSERT INTO tavern.sent (namespace, node, first, last, seq, at)
                            VALUES (a_namespace, m_node[i], m_counter[i], m_counter[i], body.at, clock)
                            ON CONFLICT DO NOTHING;
                    END IF;
                END IF;
            END IF;
            outcomes := outcomes || letter;
        END LOOP;
        added := coalesce(array_length(stored, 1), 0);
    END IF;

    first := head + 1;
    IF added > 0 THEN
        lost := head;
        IF known_epoch = ns_epoch AND known_seq > head THEN
            -- Somebody has seen entries of this epoch that are not here.
            lost := known_seq;
            forked := true;
        END IF;
        IF moved OR forked THEN
            forked := true;
            new_forks := ns_epoch || ':' || head || ':' || lost || ';' || new_forks;
            epoch := a_fresh;
        END IF;
        IF special THEN
            INSERT INTO tavern.entry (namespace, seq, lane, appended, record)
                SELECT a_namespace, head + s.number, lanes[m_lane[s.i]], clock, m_record[s.i]
                FROM unnest(stored) WITH ORDINALITY AS s(i, number);
        ELSIF single THEN
            INSERT INTO tavern.entry (namespace, seq, lane, appended, record)
                VALUES (a_namespace, head + 1, lanes[1], clock, m_record[1]);
            INSERT INTO tavern.sent (namespace, node, first, last, seq, at)
                VALUES (a_namespace, m_node[1], m_counter[1], m_counter[1], head + 1, clock);
        ELSE
            INSERT INTO tavern.entry (namespace, seq, lane, appended, record)
                SELECT a_namespace, head + m.number, lanes[m.lane], clock, m.record
                FROM unnest(m_lane, m_record) WITH ORDINALITY AS m(lane, record, number);
            -- Runs of counters that rise by one, as the seqs do, with no other of the same node's
            -- between.
            INSERT INTO tavern.sent (namespace, node, first, last, seq, at)
                SELECT a_namespace, r.node, min(r.counter), max(r.counter), head + min(r.number), clock
                FROM (
                    SELECT k.node, k.counter, k.number, k.counter - k.number AS run,
                        k.counter - row_number() OVER (PARTITION BY k.node ORDER BY k.number) AS part
                    FROM unnest(m_node, m_counter) WITH ORDINALITY AS k(node, counter, number)
                ) r
                GROUP BY r.node, r.run, r.part;
        END IF;
    END IF;

    -- What lies above a fork and was seen is lost: see `Lineage::learn`.
    IF known_epoch IS NOT NULL AND known_epoch <> epoch THEN
        list := string_to_array(rtrim(new_forks, ';'), ';');
        FOR i IN 1 .. coalesce(array_length(list, 1), 0) LOOP
            IF split_part(list[i], ':', 1) = known_epoch THEN oldest := i; EXIT; END IF;
        END LOOP;
        known := known_seq;
        FOR i IN REVERSE coalesce(oldest, 0) .. 1 LOOP
            IF known > split_part(list[i], ':', 3)::int8 THEN
                list[i] := split_part(list[i], ':', 1) || ':' || split_part(list[i], ':', 2) || ':' || known;
                learned := true;
            END IF;
            known := least(known, split_part(list[i], ':', 2)::int8);
        END LOOP;
        IF learned THEN new_forks := array_to_string(list, ';') || ';'; END IF;
    END IF;
    IF forked THEN
        -- As many as `Lineage::MAX_FORKS`.
        list := string_to_array(rtrim(new_forks, ';'), ';');
        new_forks := array_to_string(list[1:256], ';') || ';';
    END IF;
    IF forked OR learned THEN
        UPDATE tavern.namespace x
            SET epoch = append.epoch, forks = new_forks,
                incarnation = CASE WHEN forked THEN tavern.incarnation() ELSE x.incarnation END,
                -- What each lane had is not known.
                horizon = CASE WHEN emptied AND forked THEN greatest(x.horizon, head) ELSE x.horizon END,
                ids = CASE WHEN emptied AND forked THEN 0 ELSE x.ids END
            WHERE x.id = a_namespace;
    END IF;
    -- A full queue would refuse it, and with it the commit. Nodes look by themselves, too.
    IF (added > 0 OR position('l' IN outcomes) > 0) AND pg_notification_queue_usage() < 0.8 THEN
        PERFORM pg_notify('tavern_' || a_namespace, '');
    END IF;
    word := 'ok';
END $$;
