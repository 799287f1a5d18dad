-- For queues of a million jobs, once more: what is asked about all that wait reads an index alone,
-- because a row of `jobs` is 2 KB and on another page than its neighbours in the line.

DROP INDEX jobs_queued;
-- Each key's line, with what places in it and claims by model need.
CREATE INDEX jobs_queued ON jobs (key_id, rank DESC, priority DESC, sequence)
    INCLUDE (id, model, work) WHERE state = 'queued';
-- Empty: what a server that starts looks for among all that waits.
CREATE INDEX jobs_nameless ON jobs (id)
    WHERE state IN ('queued', 'running') AND id !~ '^[0-9a-f]{32}$';
-- The newest that are done, behind however many that wait.
CREATE INDEX jobs_done ON jobs (sequence) WHERE state = 'done';

-- What the jobs that wait count against quotas.
ALTER TABLE backlog ADD COLUMN pictures bigint NOT NULL DEFAULT 0,
    ADD COLUMN work bigint NOT NULL DEFAULT 0,
    ADD COLUMN money bigint NOT NULL DEFAULT 0;

CREATE OR REPLACE FUNCTION pictor_job_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Of one key: two servers that queue jobs for the same models in another order, each in one
    -- transaction, would wait for each other's rows. Not while a database is copied, alone.
    IF current_setting('pictor.quiet', true) IS DISTINCT FROM 'on' THEN
        PERFORM pg_advisory_xact_lock(593921827,
            hashtext(CASE WHEN TG_OP = 'DELETE' THEN OLD.key_id ELSE NEW.key_id END));
    END IF;
    IF TG_OP <> 'INSERT' AND OLD.state = 'queued' AND (TG_OP = 'DELETE' OR NEW.state <> 'queued') THEN
        UPDATE backlog SET queued = queued - 1, pictures = pictures - OLD.count,
            work = work - OLD.work, money = money - OLD.money
            WHERE key_id = OLD.key_id AND model = OLD.model;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.state = 'queued' AND (TG_OP = 'INSERT' OR OLD.state <> 'queued') THEN
        INSERT INTO backlog (key_id, model, queued, pictures, work, money)
            VALUES (NEW.key_id, NEW.model, 1, NEW.count, NEW.work, NEW.money)
            ON CONFLICT (key_id, model) DO UPDATE SET queued = backlog.queued + 1,
            pictures = backlog.pictures + NEW.count, work = backlog.work + NEW.work,
            money = backlog.money + NEW.money;
    END IF;
    RETURN NULL;
END $$;
UPDATE backlog SET pictures = waiting.pictures, work = waiting.work, money = waiting.money
    FROM (SELECT key_id, model, sum(count)::bigint AS pictures, sum(work)::bigint AS work,
        sum(money)::bigint AS money FROM jobs WHERE state = 'queued' GROUP BY key_id, model) AS waiting
    WHERE waiting.key_id = backlog.key_id AND waiting.model = backlog.model;
