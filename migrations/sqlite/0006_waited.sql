-- Whether a client's open request is all that wants the job: it ends with the request, and with a
-- server that died, whose clients have heard nothing and will ask again.
ALTER TABLE jobs ADD COLUMN waited INTEGER NOT NULL DEFAULT 0;
