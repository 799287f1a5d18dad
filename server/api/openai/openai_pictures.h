/* openai_pictures.h: the pictures that come with a request of OpenAI's images API, in a form or in
 * JSON in all shapes that gateways write, as the picture and the mask of a job.
 *
 * A model that paints over one picture gets one: several are blended in equal parts, each cut to
 * the shape of the first; what a mask protects stays as it is in the first. A markup, what somebody
 * has drawn to show what is meant, is laid over the first. All decoding of this
 * dialect is here. Thread-safe; no state. */
#ifndef PICTOR_SERVER_OPENAI_PICTURES_H
#define PICTOR_SERVER_OPENAI_PICTURES_H

#include <stddef.h>
#include <stdint.h>

#include "server/api/openai/openai.h"

struct app;
struct cJSON;
struct multipart_part;

#define OPENAI_PICTURES_MAX 16

struct openai_picture {
    uint8_t *data; /* an encoded file, malloc'd; NULL: none */
    size_t size;
    char param[40]; /* what the request calls it: "image", "images[1].image_url" */
};

/* What came, not looked into yet. Zero is empty. */
struct openai_pictures {
    struct openai_picture images[OPENAI_PICTURES_MAX], mask, markup;
    int count; /* of images */
};

/* Whether a part of a form is a picture by its name: image, images, mask or markup, also with [] or
 * [N]. */
bool openai_pictures_is_part(const char *name);

/* Takes such a part. An empty one (a file field of a page that nobody filled in) is none. */
bool openai_pictures_part(struct openai_pictures *p, const struct multipart_part *part,
                          struct openai_fault *f);

/* Takes what the members image, images, mask and markup of a JSON body hold (NULL: absent): base64,
 * a data: URL, {"image_url"}, {"url"}, {"b64_json"} and the like, {"file_id"} of a file of the
 * key's, or a list of these. */
bool openai_pictures_json(const struct app *app, const char *visible_key,
                          struct openai_pictures *p, const struct cJSON *image,
                          const struct cJSON *images, const struct cJSON *mask,
                          const struct cJSON *markup, struct openai_fault *f);

void openai_pictures_free(struct openai_pictures *p);

/* The pictures of a job. */
struct openai_inputs {
    uint8_t *init, *mask; /* encoded files, malloc'd; the mask is white where to repaint, or NULL */
    size_t init_size, mask_size;
    int width, height; /* of the picture */
    bool clear;        /* the mask is where the picture itself is transparent */
    struct openai_file {
        uint8_t *data;
        size_t size;
    } more[OPENAI_PICTURES_MAX - 1]; /* the further pictures, as they came */
    int more_count;
};

/* Needs at least one image. Without a mask, an image with transparent parts is its own mask if
 * `clear_is_mask`. Further pictures stay `apart`, or are blended into the first. Leaves `p` as
 * it is. */
bool openai_pictures_inputs(const struct app *app, const struct openai_pictures *p,
                            bool clear_is_mask, bool apart, struct openai_inputs *out,
                            struct openai_fault *f);
void openai_pictures_inputs_free(struct openai_inputs *in);

#endif
