-- The way in for SQL: an insert, in the caller's own transaction, without any lock. It runs with its
-- owner's rights: the caller's temporary schema comes last, or a type there would pass for ours.
CREATE FUNCTION tavern.publish(
    topic text, data text, event text DEFAULT NULL, id text DEFAULT NULL,
    scope text DEFAULT NULL, ttl int8 DEFAULT NULL, namespace text DEFAULT 'default'
) RETURNS void LANGUAGE plpgsql VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on AS $$
DECLARE
    control CONSTANT text := '[\u0001-\u001f\u007f-\u009f]';
    line CONSTANT text := '[\r\n]';
BEGIN
    IF topic IS NULL OR octet_length(topic) NOT BETWEEN 1 AND 255 OR topic ~ control
        OR topic ~ '(^|/)(/|$)' OR topic ~ '(^|/)\*{1,2}(/|$)' OR topic LIKE '$%' THEN
        RAISE EXCEPTION 'tavern: a topic has 1 to 255 bytes, segments split by "/", none of them empty or a wildcard, no control characters, and does not begin with "$": %', coalesce(quote_literal(left(topic, 80)), 'NULL')
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF data IS NULL THEN
        RAISE EXCEPTION 'tavern: data must not be NULL; it may be empty'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF scope IS NOT NULL AND (octet_length(scope) NOT BETWEEN 1 AND 255 OR scope ~ line) THEN
        RAISE EXCEPTION 'tavern: a scope has 1 to 255 bytes and no line break; NULL is for everybody'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF id IS NOT NULL AND (octet_length(id) NOT BETWEEN 1 AND 255 OR id ~ line) THEN
        RAISE EXCEPTION 'tavern: an id has 1 to 255 bytes and no line break'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF event IS NOT NULL AND (octet_length(event) NOT BETWEEN 1 AND 255 OR event ~ line
        OR event LIKE 'tavern-%') THEN
        RAISE EXCEPTION 'tavern: an event name has 1 to 255 bytes, no line break, and does not begin with "tavern-"'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF ttl IS NOT NULL AND ttl < 1 THEN
        RAISE EXCEPTION 'tavern: a ttl is 1 millisecond or more; NULL is for ever'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF namespace IS NULL OR octet_length(namespace) NOT BETWEEN 1 AND 255 OR namespace ~ control THEN
        RAISE EXCEPTION 'tavern: a namespace has 1 to 255 bytes and no control characters'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Before it has a number, so that who looks knows that lower ones may come.
    PERFORM pg_current_xact_id();
    INSERT INTO tavern.outbox (namespace, topic, data, event, id, scope, ttl)
        VALUES (publish.namespace, publish.topic, publish.data, publish.event, publish.id,
            publish.scope, publish.ttl);
END $$;
REVOKE ALL ON FUNCTION tavern.publish(text, text, text, text, text, int8, text) FROM PUBLIC;
