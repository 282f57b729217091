-- The first layout. What is here never changes again: a later version adds a file.

CREATE TABLE tavern.namespace (
    id int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text COLLATE "C" NOT NULL UNIQUE,
    -- Which log it is: another one if this row is ever made anew.
    log text NOT NULL,
    epoch text NOT NULL,
    -- What the database was at the last fork: see `tavern.incarnation()`.
    incarnation text NOT NULL,
    -- `parent:at:lost_through;`, newest first.
    forks text NOT NULL DEFAULT '',
    retention text NOT NULL,
    rules int8 NOT NULL,
    format int4 NOT NULL,
    horizon int8 NOT NULL DEFAULT 0,
    -- Seqs up to here have been looked at for what is too many of a lane.
    swept int8 NOT NULL DEFAULT 0,
    -- The same for what is too old, of which some stays longer: from the beginning again, at the end.
    aged int8 NOT NULL DEFAULT 0,
    -- Ids of seqs up to here are older than anybody has to know; those that are left go with their
    -- entry.
    ids int8 NOT NULL DEFAULT 0
);

-- A topic within a scope; '' is no scope.
CREATE TABLE tavern.lane (
    id int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace int4 NOT NULL REFERENCES tavern.namespace ON DELETE CASCADE,
    topic text COLLATE "C" NOT NULL,
    scope text COLLATE "C" NOT NULL DEFAULT '',
    -- The last seq removed from it; 0 if none.
    floor int8 NOT NULL DEFAULT 0,
    -- Since when nothing is left in it, as far as anybody has looked.
    silent int8,
    UNIQUE (namespace, topic, scope)
);
CREATE INDEX lane_floor ON tavern.lane (namespace, floor) WHERE floor > 0;
CREATE INDEX lane_silent ON tavern.lane (namespace, silent) WHERE silent IS NOT NULL;

-- The log. The newest entry of a namespace is never removed: the next seq follows from it.
-- Entries are only added at one end and removed at the other, so vacuum comes early and has little
-- to do each time.
CREATE TABLE tavern.entry (
    namespace int4 NOT NULL REFERENCES tavern.namespace ON DELETE CASCADE,
    seq int8 NOT NULL,
    lane int8 NOT NULL,
    -- Milliseconds since the Unix epoch, by `tavern.clock()`.
    appended int8 NOT NULL,
    record bytea NOT NULL,
    PRIMARY KEY (namespace, seq)
) WITH (
    autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000,
    autovacuum_vacuum_cost_delay = 0,
    toast.autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_threshold = 5000
);
CREATE INDEX entry_lane ON tavern.entry (lane, seq);
-- A record is compressed at most once, by who compresses better.
ALTER TABLE tavern.entry ALTER COLUMN record SET STORAGE EXTERNAL;

-- Keys of what nodes have published: runs of counters, which rise with the seqs.
CREATE TABLE tavern.sent (
    namespace int4 NOT NULL REFERENCES tavern.namespace ON DELETE CASCADE,
    node int8 NOT NULL,
    first int8 NOT NULL,
    last int8 NOT NULL,
    seq int8 NOT NULL,
    at int8 NOT NULL,
    PRIMARY KEY (namespace, node, last)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);
CREATE INDEX sent_at ON tavern.sent (namespace, at);

-- Ids that publishers gave.
CREATE TABLE tavern.given (
    namespace int4 NOT NULL,
    lane int8 NOT NULL REFERENCES tavern.lane ON DELETE CASCADE,
    id text COLLATE "C" NOT NULL,
    seq int8 NOT NULL,
    print text NOT NULL,
    at int8 NOT NULL,
    PRIMARY KEY (lane, id)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000);
CREATE INDEX given_seq ON tavern.given (namespace, seq);

-- What SQL has published and no node has moved yet.
CREATE TABLE tavern.outbox (
    number int8 GENERATED ALWAYS AS IDENTITY,
    namespace text COLLATE "C" NOT NULL,
    topic text NOT NULL,
    data text NOT NULL,
    event text,
    id text,
    scope text,
    -- Milliseconds.
    ttl int8,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    -- What waits for one namespace is in nobody else's way.
    PRIMARY KEY (namespace, number)
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- Messages of live topics on their way: delivered at most once, so a crash may empty it.
CREATE UNLOGGED TABLE tavern.live (
    number int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    namespace int4 NOT NULL,
    at int8 NOT NULL,
    record bytea NOT NULL
) WITH (
    autovacuum_vacuum_scale_factor = 0.01, autovacuum_vacuum_threshold = 1000,
    autovacuum_vacuum_cost_delay = 0
);

-- One row, with a random text. A crash empties it, a promotion too: what was committed last may be
-- gone then, although the server's process is the same.
CREATE UNLOGGED TABLE tavern.life (
    one bool PRIMARY KEY DEFAULT true CHECK (one),
    token text NOT NULL
);
