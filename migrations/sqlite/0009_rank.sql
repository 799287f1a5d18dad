-- What was moved by hand: the greater goes first, before all that priorities and turns say.
ALTER TABLE jobs ADD COLUMN rank INTEGER NOT NULL DEFAULT 0;
DROP INDEX jobs_queued;
CREATE INDEX jobs_queued ON jobs (key_id, priority, sequence, id, model, state, rank)
    WHERE state = 'queued';
