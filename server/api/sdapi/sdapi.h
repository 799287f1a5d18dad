/* sdapi.h: the SD WebUI dialect: its errors, its lists, and the small endpoints around them.
 *
 * The handlers of /sdapi/v1 are spread by meaning: here what there is (samplers, upscalers, ...),
 * sdapi_models.h checkpoints, sdapi_generate.h painting, sdapi_options.h settings a client may
 * change, sdapi_progress.h watching and stopping, sdapi_picture.h what is done to one finished
 * picture, sdapi_styles.h prompt styles. Every path is in route.c; docs/sdapi.md says what is
 * supported and where pictor differs. All are thread-safe. */
#ifndef PICTOR_SERVER_SDAPI_H
#define PICTOR_SERVER_SDAPI_H

struct http_request;
struct http_problem;

/* The dialect's errors (route_error_fn): {"error", "detail", "body", "errors", "message"}, or for a
 * 422 that names a field {"detail": [{"loc", "msg", "type"}], "message"}. */
void sdapi_error(struct http_request *req, const struct http_problem *problem);

/* GET /sdapi/v1/... */
void sdapi_samplers(struct http_request *req);             /* samplers */
void sdapi_schedulers(struct http_request *req);           /* schedulers */
void sdapi_upscalers(struct http_request *req);            /* upscalers */
void sdapi_latent_upscale_modes(struct http_request *req); /* latent-upscale-modes */
void sdapi_scripts(struct http_request *req);              /* scripts */
void sdapi_script_info(struct http_request *req);          /* script-info */
void sdapi_memory(struct http_request *req);               /* memory */
void sdapi_cmd_flags(struct http_request *req);            /* cmd-flags */
/* GET /sdapi/v1/loras. */
void sdapi_loras(struct http_request *req);
void sdapi_vaes(struct http_request *req);

/* sd-vae, sd-modules, hypernetworks, face-restorers, realesrgan-models,
 * extensions: pictor has none */
void sdapi_empty_list(struct http_request *req);

/* POST /sdapi/v1/refresh-checkpoints, refresh-loras, refresh-vae. No body is read. */
void sdapi_refresh_checkpoints(struct http_request *req);
void sdapi_refresh_loras(struct http_request *req);
void sdapi_refresh_vaes(struct http_request *req);

/* POST /sdapi/v1/unload-checkpoint, reload-checkpoint */
void sdapi_unload_checkpoint(struct http_request *req);
void sdapi_reload_checkpoint(struct http_request *req);

/* GET /queue/status, /app_id, /internal/ping: what clients ask to see that a server is there. */
void sdapi_queue_status(struct http_request *req);
void sdapi_app_id(struct http_request *req);
void sdapi_ping(struct http_request *req);

#endif
