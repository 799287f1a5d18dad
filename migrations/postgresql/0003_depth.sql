-- For queues of a million jobs: what waits is counted as it changes, because counting it takes
-- seconds then, and what claims and figures look for has an index.

-- Whether there is anything that goes before the keys' shares: claims ask for it first.
CREATE INDEX jobs_urgent ON jobs (sequence) WHERE state = 'queued' AND priority > 0;
-- What has waited longest for a model.
CREATE INDEX jobs_oldest ON jobs (model, created_ms) WHERE state = 'queued';

-- How many jobs of a key wait for a model. Triggers keep it, so that servers of the version before
-- do, too. A row is locked behind its jobs' rows and before the key's turn.
CREATE TABLE backlog (
    key_id text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    queued bigint NOT NULL,
    PRIMARY KEY (key_id, model)
);
ALTER TABLE backlog SET (fillfactor = 50, autovacuum_vacuum_threshold = 200);

CREATE FUNCTION pictor_job_count() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Of one key: two servers that queue jobs for the same models in another order, each in one
    -- transaction, would wait for each other's rows. Not while a database is copied, alone.
    IF current_setting('pictor.quiet', true) IS DISTINCT FROM 'on' THEN
        PERFORM pg_advisory_xact_lock(593921827,
            hashtext(CASE WHEN TG_OP = 'DELETE' THEN OLD.key_id ELSE NEW.key_id END));
    END IF;
    IF TG_OP <> 'INSERT' AND OLD.state = 'queued' AND (TG_OP = 'DELETE' OR NEW.state <> 'queued') THEN
        UPDATE backlog SET queued = queued - 1 WHERE key_id = OLD.key_id AND model = OLD.model;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.state = 'queued' AND (TG_OP = 'INSERT' OR OLD.state <> 'queued') THEN
        INSERT INTO backlog VALUES (NEW.key_id, NEW.model, 1)
            ON CONFLICT (key_id, model) DO UPDATE SET queued = backlog.queued + 1;
    END IF;
    RETURN NULL;
END $$;
LOCK TABLE jobs IN SHARE ROW EXCLUSIVE MODE;
CREATE TRIGGER jobs_count AFTER INSERT OR DELETE OR UPDATE OF state ON jobs
    FOR EACH ROW EXECUTE FUNCTION pictor_job_count();
INSERT INTO backlog SELECT key_id, model, count(*) FROM jobs WHERE state = 'queued'
    GROUP BY key_id, model;
