-- What was deleted and may still be taken back: rows of jobs and of what hangs on them, as they were.
-- Nothing that looks for jobs or pictures finds them here. A column that the tables below get, these
-- get, too: server/store/sql/sql_aside.c copies what SQL_JOB_MOVED and its like name.
CREATE TABLE jobs_aside (
    sequence INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    key_id TEXT NOT NULL,
    state TEXT NOT NULL,
    rank INTEGER NOT NULL,
    priority INTEGER NOT NULL,
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    tag TEXT NOT NULL,
    count INTEGER NOT NULL,
    params TEXT NOT NULL,
    waited INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    token INTEGER NOT NULL,
    owner TEXT NOT NULL,
    lease_until INTEGER NOT NULL,
    interrupted INTEGER NOT NULL,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER NOT NULL,
    finished_ms INTEGER NOT NULL,
    error_code TEXT NOT NULL,
    error_message TEXT NOT NULL,
    refusal TEXT NOT NULL,
    work INTEGER NOT NULL,
    charged INTEGER NOT NULL,
    money INTEGER NOT NULL,
    aside_ms INTEGER NOT NULL                   -- when it was deleted
) STRICT;
CREATE INDEX jobs_aside_since ON jobs_aside (aside_ms);

CREATE TABLE images_aside (
    id TEXT PRIMARY KEY,
    job_id TEXT NOT NULL,
    position INTEGER NOT NULL,
    width INTEGER NOT NULL,
    height INTEGER NOT NULL,
    seed INTEGER NOT NULL,
    subseed INTEGER NOT NULL,
    format TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    infotext TEXT NOT NULL,
    alone INTEGER NOT NULL,                     -- 1: deleted by itself, 0: with its job
    aside_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX images_aside_of ON images_aside (job_id);
CREATE INDEX images_aside_since ON images_aside (aside_ms) WHERE alone = 1;

CREATE TABLE inputs_aside (
    job_id TEXT NOT NULL,
    name TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (job_id, name)
) STRICT, WITHOUT ROWID;

CREATE TABLE marks_aside (
    sequence INTEGER NOT NULL,
    image_id TEXT,
    tag TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX marks_aside_of ON marks_aside (sequence, coalesce(image_id, ''), tag);
