-- Who paints, by what each said last of itself. Not worth a disk: they say it again within seconds.
CREATE UNLOGGED TABLE workers (
    id text COLLATE "C" PRIMARY KEY, -- as the owners of jobs
    body text NOT NULL,              -- JSON; server/queue/roster.c
    seen_ms bigint NOT NULL
);
