/* sdapi_request.h: the body of txt2img and img2img as a struct.
 *
 * One table says every field once: its type, its default and, by its place, where it stands in the
 * echo ("parameters" of the answer), which clients compare with what they know from SD WebUI.
 * Values are coerced as pydantic 1 does ("20" is 20, "yes" is true); null is the default
 * everywhere; unknown members are ignored. Thread-safe; no state. */
#ifndef PICTOR_SERVER_SDAPI_REQUEST_H
#define PICTOR_SERVER_SDAPI_REQUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "server/base/json_fields.h"

struct cJSON;

/* X(type, name, default). Types: STRING const char * (NULL: null), INT int (NO_INT: null), WHOLE,
 * DOUBLE (NAN: null), BOOL, and three kinds of struct cJSON * (NULL: the default, which is here as
 * JSON): FLAG true or false, LIST, DICT (PHP writes an empty one as []). ANY is a cJSON * that is
 * not looked at. */
#define SDAPI_REQUEST_COMMON(X, strength)                                                          \
    X(STRING, prompt, "")                                                                          \
    X(STRING, negative_prompt, "")                                                                 \
    X(LIST, styles, "null")                                                                        \
    X(WHOLE, seed, -1)                                                                             \
    X(WHOLE, subseed, -1)                                                                          \
    X(DOUBLE, subseed_strength, 0)                                                                 \
    X(INT, seed_resize_from_h, -1)                                                                 \
    X(INT, seed_resize_from_w, -1)                                                                 \
    X(STRING, sampler_name, NULL)                                                                  \
    X(STRING, scheduler, NULL)                                                                     \
    X(INT, batch_size, 1)                                                                          \
    X(INT, n_iter, 1)                                                                              \
    X(INT, steps, 50)                                                                              \
    X(DOUBLE, cfg_scale, 7)                                                                        \
    X(INT, width, 512)                                                                             \
    X(INT, height, 512)                                                                            \
    X(FLAG, restore_faces, "null")                                                                 \
    X(FLAG, tiling, "null")                                                                        \
    X(BOOL, do_not_save_samples, false)                                                            \
    X(BOOL, do_not_save_grid, false)                                                               \
    X(DOUBLE, eta, NAN)                                                                            \
    X(DOUBLE, denoising_strength, strength)                                                        \
    X(DOUBLE, s_min_uncond, NAN)                                                                   \
    X(DOUBLE, s_churn, NAN)                                                                        \
    X(DOUBLE, s_tmax, NAN)                                                                         \
    X(DOUBLE, s_tmin, NAN)                                                                         \
    X(DOUBLE, s_noise, NAN)                                                                        \
    X(DICT, override_settings, "null")                                                             \
    X(BOOL, override_settings_restore_afterwards, true)                                            \
    X(STRING, refiner_checkpoint, NULL)                                                            \
    X(DOUBLE, refiner_switch_at, NAN)                                                              \
    X(BOOL, disable_extra_networks, false)                                                         \
    X(ANY, firstpass_image, "null")                                                                \
    X(DICT, comments, "null")

#define SDAPI_REQUEST_TXT2IMG(X)                                                                   \
    X(BOOL, enable_hr, false)                                                                      \
    X(INT, firstphase_width, 0)                                                                    \
    X(INT, firstphase_height, 0)                                                                   \
    X(DOUBLE, hr_scale, 2)                                                                         \
    X(STRING, hr_upscaler, NULL)                                                                   \
    X(INT, hr_second_pass_steps, 0)                                                                \
    X(INT, hr_resize_x, 0)                                                                         \
    X(INT, hr_resize_y, 0)                                                                         \
    X(STRING, hr_checkpoint_name, NULL)                                                            \
    X(STRING, hr_sampler_name, NULL)                                                               \
    X(STRING, hr_scheduler, NULL)                                                                  \
    X(STRING, hr_prompt, "")                                                                       \
    X(STRING, hr_negative_prompt, "")

#define SDAPI_REQUEST_IMG2IMG(X)                                                                   \
    X(LIST, init_images, "null")                                                                   \
    X(INT, resize_mode, 0)                                                                         \
    X(DOUBLE, image_cfg_scale, NAN)                                                                \
    X(STRING, mask, NULL)                                                                          \
    X(INT, mask_blur_x, 4)                                                                         \
    X(INT, mask_blur_y, 4)                                                                         \
    X(INT, mask_blur, JSON_FIELD_NO_INT)                                                           \
    X(BOOL, mask_round, true)                                                                      \
    X(INT, inpainting_fill, 0)                                                                     \
    X(BOOL, inpaint_full_res, true)                                                                \
    X(INT, inpaint_full_res_padding, 0)                                                            \
    X(INT, inpainting_mask_invert, 0)                                                              \
    X(DOUBLE, initial_noise_multiplier, NAN)                                                       \
    X(STRING, latent_mask, NULL)

#define SDAPI_REQUEST_TASK(X)                                                                      \
    X(STRING, force_task_id, NULL)                                                                 \
    X(STRING, sampler_index, "Euler")

#define SDAPI_REQUEST_INCLUDE(X) X(BOOL, include_init_images, false)

#define SDAPI_REQUEST_TAIL(X)                                                                      \
    X(STRING, script_name, NULL)                                                                   \
    X(LIST, script_args, "[]")                                                                     \
    X(BOOL, send_images, true)                                                                     \
    X(BOOL, save_images, false)                                                                    \
    X(DICT, alwayson_scripts, "{}")                                                                \
    X(STRING, infotext, NULL)

/* Not echoed: what other servers call things, and what is for them. 0: not given. */
#define SDAPI_REQUEST_ALIASES(X)                                                                   \
    X(INT, clip_skip, 0)                                                                           \
    X(INT, hr_steps, 0)                                                                            \
    X(LIST, lora, "null")                                                                          \
    X(LIST, loras, "null")                                                                         \
    X(DICT, relay, "null")                                                                         \
    X(LIST, tags, "null")                                                                          \
    X(DOUBLE, distilled_cfg_scale, NAN)                                                            \
    X(BOOL, compose, 0)                                                                            \
    X(STRING, composed_from, NULL)

#define SDAPI_REQUEST_C_STRING const char *
#define SDAPI_REQUEST_C_INT int
#define SDAPI_REQUEST_C_WHOLE struct json_whole
#define SDAPI_REQUEST_C_DOUBLE double
#define SDAPI_REQUEST_C_BOOL bool
#define SDAPI_REQUEST_C_FLAG struct cJSON *
#define SDAPI_REQUEST_C_LIST struct cJSON *
#define SDAPI_REQUEST_C_DICT struct cJSON *
#define SDAPI_REQUEST_C_ANY struct cJSON *
#define SDAPI_REQUEST_MEMBER(type, name, fallback) SDAPI_REQUEST_C_##type name;

enum sdapi_request_kind { SDAPI_TXT2IMG, SDAPI_IMG2IMG };

/* Borrows from the body it was parsed from. The members of the other kind are zero. */
struct sdapi_request {
    enum sdapi_request_kind kind;
    SDAPI_REQUEST_COMMON(SDAPI_REQUEST_MEMBER, 0)
    SDAPI_REQUEST_TXT2IMG(SDAPI_REQUEST_MEMBER)
    SDAPI_REQUEST_IMG2IMG(SDAPI_REQUEST_MEMBER)
    SDAPI_REQUEST_TASK(SDAPI_REQUEST_MEMBER)
    SDAPI_REQUEST_INCLUDE(SDAPI_REQUEST_MEMBER)
    SDAPI_REQUEST_TAIL(SDAPI_REQUEST_MEMBER)
    SDAPI_REQUEST_ALIASES(SDAPI_REQUEST_MEMBER)
};

/* `body` is changed in place (coerced strings; members added from its "infotext" for what it does
 * not say itself). On failure *detail is the whole 422 answer, owned; NULL only without memory. */
bool sdapi_request_parse(enum sdapi_request_kind kind, struct cJSON *body,
                         struct sdapi_request *out, struct cJSON **detail);

/* Of the bodies; owned. */
struct settings;
struct cJSON *sdapi_request_schema_txt2img(const struct settings *settings);
struct cJSON *sdapi_request_schema_img2img(const struct settings *settings);

/* Whether a request of this kind has such a field. */
bool sdapi_request_knows(enum sdapi_request_kind kind, const char *name);

/* The request with all defaults, in SD WebUI's order. Owned; NULL only without memory. */
struct cJSON *sdapi_request_echo(const struct sdapi_request *request);

/* Whether a FLAG is there and true. */
bool sdapi_request_flag(const struct cJSON *flag);

#endif
