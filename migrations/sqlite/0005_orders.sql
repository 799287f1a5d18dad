-- What was ordered at an upstream for a job and is not settled: written before it is sent. A server
-- that dies meanwhile finds here that it asked, and cannot know what came of it.
CREATE TABLE orders (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id) ON DELETE CASCADE,
    token TEXT NOT NULL,       -- the Idempotency-Key
    position INTEGER NOT NULL, -- of the first picture
    count INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
