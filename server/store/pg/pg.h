/* pg.h: the store's driver for PostgreSQL, which several servers may share. */
#ifndef PICTOR_SERVER_PG_H
#define PICTOR_SERVER_PG_H

#include "server/store/store_driver.h"

extern const struct store_driver pg_driver;

/* Whether a setting names a database of this kind: "postgresql://..." or "postgres://...". */
bool pg_is_address(const char *database);

#endif
