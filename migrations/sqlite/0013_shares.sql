-- Keys share the painters' seconds: what each has used lately, what a job is expected to take and
-- took, what a key may use in a day and a month, and what was used, by days.

ALTER TABLE jobs ADD COLUMN work INTEGER NOT NULL DEFAULT 0;    -- thousands of pixels times steps
ALTER TABLE jobs ADD COLUMN charged INTEGER NOT NULL DEFAULT 0; -- ms; below 0: given back
ALTER TABLE jobs ADD COLUMN money INTEGER NOT NULL DEFAULT 0;   -- millionths, spent at upstreams
DROP INDEX jobs_queued;
-- Each key's jobs in the order in which they are claimed, with all that claims need.
CREATE INDEX jobs_queued ON jobs (key_id, rank DESC, priority DESC, sequence, model, id, state)
    WHERE state = 'queued';
CREATE INDEX jobs_moved ON jobs (rank) WHERE state = 'queued' AND rank > 0;

-- turn is not read any more. used: server/store/shares.h.
ALTER TABLE turns ADD COLUMN used INTEGER NOT NULL DEFAULT 0;
ALTER TABLE turns ADD COLUMN pace INTEGER NOT NULL DEFAULT 0; -- us a unit of work; 0: unknown
INSERT OR IGNORE INTO turns (key_id, turn)
    SELECT DISTINCT key_id, 0 FROM jobs WHERE state IN ('queued', 'running');

ALTER TABLE keys ADD COLUMN weight INTEGER NOT NULL DEFAULT 1;
-- Most of a day and of a month; 0: no limit.
ALTER TABLE keys ADD COLUMN day_pictures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN month_pictures INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN day_work INTEGER NOT NULL DEFAULT 0;   -- millions of pixels times steps
ALTER TABLE keys ADD COLUMN month_work INTEGER NOT NULL DEFAULT 0;
ALTER TABLE keys ADD COLUMN day_money INTEGER NOT NULL DEFAULT 0;  -- millionths
ALTER TABLE keys ADD COLUMN month_money INTEGER NOT NULL DEFAULT 0;

-- Of jobs that have ended, by the day (UTC, days since 1970) on which they did.
CREATE TABLE usage (
    day INTEGER NOT NULL,
    key_id TEXT NOT NULL,
    model TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    failed INTEGER NOT NULL,   -- of them
    pictures INTEGER NOT NULL,
    work INTEGER NOT NULL,     -- as of jobs
    ms INTEGER NOT NULL,       -- from claims to ends
    money INTEGER NOT NULL,    -- millionths
    PRIMARY KEY (day, key_id, model)
) STRICT, WITHOUT ROWID;
CREATE INDEX usage_of_key ON usage (key_id, day);
