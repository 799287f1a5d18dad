/* pg_listen.h: store_listen and what belongs to it, of PostgreSQL. */
#ifndef PICTOR_SERVER_PG_LISTEN_H
#define PICTOR_SERVER_PG_LISTEN_H

#include "server/store/pg/pg_sql.h"

bool pg_listen_start(struct store *st, store_news_fn *fn, void *ctx, struct err *err);
void pg_listen_stop(struct store *st);
bool pg_listen_report(struct store *st, const struct store_news *news, struct err *err);
bool pg_listen_leads(struct store *st);

/* Something was committed that the other servers are to hear of. */
void pg_listen_wake(struct pg *st);

#endif
