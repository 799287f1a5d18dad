/* sdapi_internal.h: what stands around the SD WebUI's API: the page's configuration, what the
 * program says of itself, its end. */
#ifndef PICTOR_SERVER_SDAPI_INTERNAL_H
#define PICTOR_SERVER_SDAPI_INTERNAL_H

struct http_request;

/* GET /config: clients look whether there is one; it has no components. */
void sdapi_internal_config(struct http_request *req);

/* GET /internal/sysinfo, sysinfo-download: JSON as text. */
void sdapi_internal_sysinfo(struct http_request *req);
void sdapi_internal_sysinfo_file(struct http_request *req);

/* GET /internal/quicksettings-hint: names of the options; profile-startup: an empty object. */
void sdapi_internal_quicksettings(struct http_request *req);
void sdapi_internal_profile(struct http_request *req);

/* POST /sdapi/v1/server-stop, server-kill: the server ends in good order, where the setting
 * api_server_stop lets it; server-restart: 501. */
void sdapi_internal_stop(struct http_request *req);
void sdapi_internal_restart(struct http_request *req);

/* POST /sdapi/v1/create/..., train/...: 501. */
void sdapi_internal_train(struct http_request *req);

#endif
