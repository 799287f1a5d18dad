-- An index of the prompts by three characters in a row: which rows may hold a text. It keeps no
-- positions, so it stays small; what it finds is compared with the prompt itself.
-- The driver writes it: no trigger may where the schema is not trusted.
CREATE VIRTUAL TABLE jobs_search USING fts5 (
    prompt, content = 'jobs', content_rowid = 'sequence', tokenize = 'trigram', detail = 'none',
    columnsize = 0
);
INSERT INTO jobs_search (jobs_search) VALUES ('rebuild');

-- Lists of what went wrong, which is rare.
CREATE INDEX jobs_ended ON jobs (state, sequence) WHERE state IN ('failed', 'cancelled');
