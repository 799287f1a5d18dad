-- What people say of jobs and pictures: tags, and the empty tag for a favourite.
CREATE TABLE marks (
    sequence INTEGER NOT NULL REFERENCES jobs (sequence) ON DELETE CASCADE,
    image_id TEXT REFERENCES images (id) ON DELETE CASCADE, -- NULL: of the job itself
    tag TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX marks_of_job ON marks (sequence, coalesce(image_id, ''), tag);
CREATE INDEX marks_by_tag ON marks (tag, sequence);
CREATE INDEX marks_of_image ON marks (image_id);

-- Lists of a model's jobs and of days; both only name rows, the history's order is theirs.
CREATE INDEX jobs_of_model ON jobs (model, sequence);
CREATE INDEX jobs_created ON jobs (created_ms);
