-- Times are Unix milliseconds, 0 for "not yet"; ids are 32 hex digits. Append-only: a change of the
-- schema is a new file, never an edit of one that was released.

CREATE TABLE jobs (
    sequence INTEGER PRIMARY KEY AUTOINCREMENT, -- order of acceptance, never used twice
    id TEXT NOT NULL UNIQUE,
    key_id TEXT NOT NULL,                       -- whose it is; '' without keys
    state TEXT NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    priority INTEGER NOT NULL,
    model TEXT NOT NULL,                        -- of params, for claims by model
    prompt TEXT NOT NULL,                       -- of params, for searches
    count INTEGER NOT NULL,                     -- of params, pictures wanted
    params TEXT NOT NULL,                       -- the request, as job_params_to_json has it
    attempts INTEGER NOT NULL DEFAULT 0,
    token INTEGER NOT NULL DEFAULT 0,           -- grows with each claim; fences off older ones
    owner TEXT NOT NULL DEFAULT '',             -- who runs it, for people
    lease_until INTEGER NOT NULL DEFAULT 0,     -- on the clock of the process that wrote it
    interrupted INTEGER NOT NULL DEFAULT 0,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER NOT NULL DEFAULT 0,
    finished_ms INTEGER NOT NULL DEFAULT 0,
    error_code TEXT NOT NULL DEFAULT '',
    error_message TEXT NOT NULL DEFAULT ''
) STRICT;

-- In the order of turns, and with all that the line and claims need: they never touch the rows.
CREATE INDEX jobs_queued ON jobs (key_id, priority, sequence, id, model, state)
    WHERE state = 'queued';
CREATE INDEX jobs_running ON jobs (lease_until) WHERE state = 'running';
CREATE INDEX jobs_finished ON jobs (finished_ms) WHERE finished_ms > 0;
CREATE INDEX jobs_of_key ON jobs (key_id, sequence);

-- When a key was served last: keys take turns. A key without a row was never served.
CREATE TABLE turns (
    key_id TEXT PRIMARY KEY,
    turn INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE images (
    id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,                  -- number in the job, from 0
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    subseed INTEGER NOT NULL,
    format TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    infotext TEXT NOT NULL,
    UNIQUE (job_id, position)
) STRICT;

CREATE TABLE inputs (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (job_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE keys (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    scopes INTEGER NOT NULL,
    prefix INTEGER NOT NULL,                    -- first 8 bytes of hash, to find it by
    hash BLOB NOT NULL,                         -- SHA-256 of the key
    created_ms INTEGER NOT NULL,
    revoked_ms INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE INDEX keys_prefix ON keys (prefix);

CREATE TABLE options (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
