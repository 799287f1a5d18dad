-- What a client sent under an Idempotency-Key, and the jobs that came of it: what it sends again
-- under this name makes none.
CREATE TABLE once (
    key_id TEXT NOT NULL,
    name TEXT NOT NULL,
    hash TEXT NOT NULL,          -- of what was sent, SHA-256
    created_ms INTEGER NOT NULL,
    jobs TEXT NOT NULL,          -- ids, between commas
    PRIMARY KEY (key_id, name)
) STRICT, WITHOUT ROWID;
CREATE INDEX once_created ON once (created_ms);
