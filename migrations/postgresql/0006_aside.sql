-- What was deleted and may still be taken back: rows of jobs and of what hangs on them, as they were.
-- Nothing that looks for jobs or pictures finds them here. A column that those tables get, these get,
-- too: server/store/sql/sql_aside.c copies what SQL_JOB_MOVED and its like name.
CREATE TABLE jobs_aside (
    LIKE jobs INCLUDING DEFAULTS,
    aside_ms bigint NOT NULL,                   -- when it was deleted
    PRIMARY KEY (id)
);
CREATE INDEX jobs_aside_since ON jobs_aside (aside_ms);

CREATE TABLE images_aside (
    LIKE images,
    alone bigint NOT NULL,                      -- 1: deleted by itself, 0: with its job
    aside_ms bigint NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX images_aside_of ON images_aside (job_id);
CREATE INDEX images_aside_since ON images_aside (aside_ms) WHERE alone = 1;

CREATE TABLE inputs_aside (LIKE inputs, PRIMARY KEY (job_id, name));

CREATE TABLE marks_aside (LIKE marks);
CREATE UNIQUE INDEX marks_aside_of ON marks_aside (sequence, coalesce(image_id, ''), tag);
