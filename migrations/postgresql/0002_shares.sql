-- migrations/sqlite/0013_shares.sql, for PostgreSQL. Servers of the version before go on to write and
-- read `turn`; what they paint is not counted.

ALTER TABLE jobs ADD COLUMN work bigint NOT NULL DEFAULT 0,
    ADD COLUMN charged bigint NOT NULL DEFAULT 0,
    ADD COLUMN money bigint NOT NULL DEFAULT 0;

ALTER TABLE turns ADD COLUMN used bigint NOT NULL DEFAULT 0,
    ADD COLUMN pace bigint NOT NULL DEFAULT 0;

ALTER TABLE keys ADD COLUMN weight bigint NOT NULL DEFAULT 1,
    ADD COLUMN day_pictures bigint NOT NULL DEFAULT 0,
    ADD COLUMN month_pictures bigint NOT NULL DEFAULT 0,
    ADD COLUMN day_work bigint NOT NULL DEFAULT 0,
    ADD COLUMN month_work bigint NOT NULL DEFAULT 0,
    ADD COLUMN day_money bigint NOT NULL DEFAULT 0,
    ADD COLUMN month_money bigint NOT NULL DEFAULT 0;

CREATE TABLE usage (
    day bigint NOT NULL,
    key_id text COLLATE "C" NOT NULL,
    model text COLLATE "C" NOT NULL,
    jobs bigint NOT NULL,
    failed bigint NOT NULL,
    pictures bigint NOT NULL,
    work bigint NOT NULL,
    ms bigint NOT NULL,
    money bigint NOT NULL,
    PRIMARY KEY (day, key_id, model)
);
ALTER TABLE usage SET (fillfactor = 50, autovacuum_vacuum_threshold = 200);
CREATE INDEX usage_of_key ON usage (key_id, day);

-- server/store/shares.h, in the same numbers: what is left at a time of what was used, in
-- milliseconds, and the form that is stored after more is used (or less, below 0) at a time.
CREATE FUNCTION pictor_left(used bigint, at_ms bigint) RETURNS double precision
    LANGUAGE sql IMMUTABLE AS
    $$ SELECT power(2::double precision,
        least(greatest(used / 1e9::double precision - at_ms / 900000::double precision, -40), 60)) $$;
CREATE FUNCTION pictor_used(used bigint, ms double precision, at_ms bigint) RETURNS bigint
    LANGUAGE sql IMMUTABLE AS
    $$ SELECT ((at_ms / 900000::double precision + ln(greatest(pictor_left(used, at_ms) + ms,
        1e-12::double precision)) / ln(2::double precision)) * 1e9)::bigint $$;
