/* quota_headers.h: tells a client in each answer how much its key may still ask for. */
#ifndef PICTOR_SERVER_QUOTA_HEADERS_H
#define PICTOR_SERVER_QUOTA_HEADERS_H

struct http_request;

/* Of each kind of limit the period that ends it first: x-ratelimit-limit-pictures,
 * x-ratelimit-remaining-pictures and x-ratelimit-reset-pictures, and likewise for megapixel-steps
 * and money; with 429 and a limit that is used up also Retry-After. */
void quota_headers(struct http_request *req, int status);

#endif
