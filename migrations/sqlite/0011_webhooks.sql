-- Addresses that are told of jobs, and what they are still to be told: a row of the latter is written
-- with the job's final state, so that none is lost with the server.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    key_id TEXT NOT NULL,
    url TEXT NOT NULL,
    secret TEXT NOT NULL,      -- what it is signed with
    states TEXT NOT NULL,      -- final states that it is told of, between blanks
    every INTEGER NOT NULL,    -- 1: of all keys' jobs
    created_ms INTEGER NOT NULL,
    told INTEGER NOT NULL DEFAULT 0,   -- how often it took what it was told
    failed INTEGER NOT NULL DEFAULT 0, -- attempts in a row that it did not
    last_ms INTEGER NOT NULL DEFAULT 0,
    last_error TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;

CREATE TABLE deliveries (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL,
    webhook_id TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    job_id TEXT NOT NULL,
    state TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    due_ms INTEGER NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX deliveries_due ON deliveries (due_ms);
CREATE INDEX deliveries_of ON deliveries (webhook_id);
