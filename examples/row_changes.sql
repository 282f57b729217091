-- Publishes the changes of a table's rows, in the transaction that makes them.
CREATE FUNCTION publish_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tavern.publish(
        TG_TABLE_NAME || '/' || coalesce(NEW.id, OLD.id),                     -- the topic: orders/7
        json_build_object('old', to_json(OLD), 'new', to_json(NEW))::text,    -- the data
        event => lower(TG_OP));                                               -- insert, update, delete
    RETURN NULL;
END $$;

CREATE TRIGGER publish_changes AFTER INSERT OR UPDATE OR DELETE ON orders
    FOR EACH ROW EXECUTE FUNCTION publish_changes();
