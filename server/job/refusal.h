/* refusal.h: what an upstream said that failed a job, so that the client hears it as it was said:
 * its status, type, code and the field to blame, and when to come again. Stored with the job. */
#ifndef PICTOR_SERVER_REFUSAL_H
#define PICTOR_SERVER_REFUSAL_H

#include <stdbool.h>

struct cJSON;

struct refusal {
    int status;                         /* of the upstream's answer; 0: there is no refusal */
    int retry_after;                    /* seconds; -1: not said */
    char type[64], code[64], param[64]; /* "": not said */
    char moderation[512];               /* moderation_details as JSON, or "" */
};

/* From the `error` object of an answer; what is not text or too long is left out. `error` may be
 * NULL. */
void refusal_set(struct refusal *r, int status, int retry_after, const struct cJSON *error);

/* The status that a client of this server gets. What is wrong with the request or has to wait is
 * told as it is; what is wrong between this server and the upstream (its key, its model, its
 * health) is 502. */
int refusal_status(const struct refusal *r);

/* JSON for the native API, its text for the store, and back. Owned, NULL without memory or when
 * there is no refusal; damaged text is no refusal. */
struct cJSON *refusal_to_json(const struct refusal *r);
char *refusal_to_text(const struct refusal *r);
void refusal_from_text(struct refusal *r, const char *text);

#endif
