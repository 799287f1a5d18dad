/* sqlite.h: the store's driver for SQLite, in DATA/pictor.db. */
#ifndef PICTOR_SERVER_SQLITE_H
#define PICTOR_SERVER_SQLITE_H

#include "server/store/store_driver.h"

extern const struct store_driver sqlite_driver;

#endif
