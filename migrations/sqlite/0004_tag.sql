-- Of params, for clients that ask for a job by their own name of it.
ALTER TABLE jobs ADD COLUMN tag TEXT NOT NULL DEFAULT '';
CREATE INDEX jobs_tagged ON jobs (tag, sequence) WHERE tag > '';
