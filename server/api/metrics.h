/* metrics.h: GET /metrics, the server in Prometheus' text format. */
#ifndef PICTOR_SERVER_METRICS_H
#define PICTOR_SERVER_METRICS_H

struct http_request;

void metrics_serve(struct http_request *req);

#endif
