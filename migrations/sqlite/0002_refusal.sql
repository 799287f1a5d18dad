-- What an upstream said that failed a job: JSON as server/job/refusal.h has it, '' for nothing.
ALTER TABLE jobs ADD COLUMN refusal TEXT NOT NULL DEFAULT '';
