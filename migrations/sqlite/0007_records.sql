-- What clients keep here beside jobs: files that they sent (DATA/files/ID), and batches of requests.
CREATE TABLE records (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    key_id TEXT NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER NOT NULL, -- 0: never
    bytes INTEGER NOT NULL,      -- of its file
    body TEXT NOT NULL           -- JSON, whoever made it knows what
) STRICT, WITHOUT ROWID;
CREATE INDEX records_kinds ON records (kind, created_ms, id);
CREATE INDEX records_expire ON records (expires_ms) WHERE expires_ms > 0;
