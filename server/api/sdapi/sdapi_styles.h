/* sdapi_styles.h: the prompt styles. To read them is the SD WebUI's; to change them over HTTP is
 * pictor's own. */
#ifndef PICTOR_SERVER_SDAPI_STYLES_H
#define PICTOR_SERVER_SDAPI_STYLES_H

struct http_request;

void sdapi_styles_list(struct http_request *req);   /* GET /sdapi/v1/prompt-styles */
struct cJSON;
struct settings;
struct cJSON *sdapi_styles_schema(const struct settings *settings); /* of the body, owned */
void sdapi_styles_put(struct http_request *req);    /* POST .../prompt-styles */
void sdapi_styles_remove(struct http_request *req); /* DELETE .../prompt-styles/{name} */

#endif
