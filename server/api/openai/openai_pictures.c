#include "server/api/openai/openai_pictures.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "engine/io/image.h"
#include "server/api/app.h"
#include "server/api/openai/openai_files.h"
#include "server/base/base64.h"
#include "server/base/ids.h"
#include "server/base/settings.h"
#include "server/http/multipart.h"
#include "server/job/intake.h"
#include "server/queue/queue.h"
#include "server/store/blobs.h"
#include "server/worker/codec.h"

#define SIDE_MIN 16

static bool no_memory(struct openai_fault *f)
{
    return openai_fault(f, 500, NULL, NULL, "out of memory");
}

/* ---- what came ---- */

static bool too_many(struct openai_fault *f, const char *param)
{
    return openai_fault(f, 400, "array_above_max_length", param,
                        "Invalid '%s': array too long. Expected an array with maximum length %d.",
                        param, OPENAI_PICTURES_MAX);
}

/* "image" of "image", "image[]" and "image[7]". */
static bool is_named(const char *name, const char *want)
{
    size_t n = strlen(want);
    if (strncmp(name, want, n) != 0)
        return false;
    name += n;
    return *name == '\0' ||
           (*name == '[' && strcmp(name + 1 + strspn(name + 1, "0123456789"), "]") == 0);
}

bool openai_pictures_is_part(const char *name)
{
    return is_named(name, "image") || is_named(name, "images") || is_named(name, "mask") ||
           is_named(name, "markup");
}

bool openai_pictures_part(struct openai_pictures *p, const struct multipart_part *part,
                          struct openai_fault *f)
{
    bool markup = is_named(part->name, "markup"), mask = is_named(part->name, "mask") || markup;
    const char *name = markup ? "markup" : mask ? "mask" : "image";
    struct openai_picture *to = markup ? &p->markup : mask ? &p->mask : &p->images[p->count];
    if (part->size == 0 && (!part->filename || !*part->filename))
        return true;
    if (!part->filename)
        return openai_fault(f, 400, "invalid_type", name,
                            "Invalid type for '%s': expected %s, but got a string instead.", name,
                            mask ? "a file" : "one of an array of files or file");
    if (mask && to->data)
        return openai_fault(f, 400, "invalid_value", name, "Only one %s may be given.", name);
    if (!mask && p->count == OPENAI_PICTURES_MAX)
        return too_many(f, "image");
    *to = (struct openai_picture){.data = malloc(part->size + 1), .size = part->size};
    if (!to->data)
        return no_memory(f);
    memcpy(to->data, part->data, part->size);
    if (mask || p->count == 0)
        snprintf(to->param, sizeof to->param, "%s", name);
    else
        snprintf(to->param, sizeof to->param, "image[%d]", p->count);
    p->count += !mask;
    return true;
}

/* The member that holds the picture of an object; *text stays NULL when there is none. */
static const char *member_of(const cJSON *object, const char **text)
{
    static const char *const names[] = {"image_url", "url",  "b64_json", "base64",
                                        "b64",       "data", "image",    "image_base64"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, names[i]);
        if (cJSON_IsObject(item)) /* chat's {"image_url": {"url": "data:..."}} */
            item = cJSON_GetObjectItemCaseSensitive(item, "url");
        if (cJSON_IsString(item)) {
            *text = item->valuestring;
            return names[i];
        }
    }
    return NULL;
}

/* Whose files may be named, and how many bytes of them: a request that names them takes no more
 * memory than one that brings them. */
struct files {
    const struct app *app;
    const char *visible_key;
    size_t left;
};

static bool kept_picture(struct files *files, const cJSON *id, struct openai_picture *out,
                         const char *param, struct openai_fault *f)
{
    struct err err;
    void *data = NULL;
    const char *text = cJSON_GetStringValue(id);
    snprintf(out->param, sizeof out->param, "%s.file_id", param);
    if (!text)
        return openai_fault(f, 400, "invalid_type", out->param,
                            "Invalid type for '%s': expected a string.", out->param);
    if (openai_files_read(files->app, files->visible_key, text, NULL, files->left, &data,
                          &out->size, &err)) {
        out->data = data;
        files->left -= out->size;
        return true;
    }
    return err.code == ERR_NOT_FOUND || err.code == ERR_INVALID
               ? openai_fault(f, 400, "invalid_value", out->param, "%s.", err.msg)
               : openai_fault_own(f, &err);
}

/* The picture that a link of ours (openai_file) leads to, under whatever name the client knows this
 * server: an id that is found here is ours, and who knows it may have the picture. */
static bool own_picture(struct files *files, const char *url, struct openai_picture *out)
{
    static const char folder[] = "/images/files/";
    struct queue *queue = files->app->queue;
    const char *at = strstr(url, folder);
    struct job_image image = {0};
    char id[JOB_ID_SIZE] = "";
    void *data = NULL;
    if (at && strlen(at + sizeof folder - 1) > JOB_ID_SIZE - 1)
        memcpy(id, at + sizeof folder - 1, JOB_ID_SIZE - 1);
    if (!ids_valid(id) || at[sizeof folder - 1 + JOB_ID_SIZE - 1] != '.' ||
        !queue_image(queue, id, NULL, &image, NULL))
        return false;
    char *path = queue_image_path(queue, &image, NULL);
    bool ok = path && blobs_read_here(path, image.bytes, &data, NULL);
    free(image.infotext);
    free(path);
    out->data = data;
    out->size = image.bytes;
    return ok;
}

/* `param` is what the request calls the item; it becomes what holds the picture in it. */
static bool json_picture(struct files *files, const cJSON *item, struct openai_picture *out,
                         const char *param, struct openai_fault *f)
{
    const cJSON *id = cJSON_GetObjectItemCaseSensitive(item, "file_id");
    const char *text = cJSON_GetStringValue(item);
    const char *member = cJSON_IsObject(item) ? member_of(item, &text) : NULL;
    bool listed = strchr(param, '[') != NULL;
    struct err err;
    snprintf(out->param, sizeof out->param, "%s%s%s", param, listed && (member || !text) ? "." : "",
             !listed  ? ""
             : member ? member
             : text   ? ""
                      : "image_url");
    if (cJSON_IsObject(item) && id && !cJSON_IsNull(id))
        return text ? openai_fault(f, 400, "invalid_value", out->param,
                                   "Give exactly one of 'image_url' and 'file_id' in '%s'.",
                                   out->param)
                    : kept_picture(files, id, out, param, f);
    if (!text)
        return openai_fault(f, 400, "invalid_type", out->param,
                            "Invalid type for '%s': expected a data: URL or base64.", out->param);
    text += strspn(text, " \t\r\n");
    if (strncasecmp(text, "http:", 5) == 0 || strncasecmp(text, "https:", 6) == 0)
        return own_picture(files, text, out) ||
               openai_fault(f, 400, "invalid_value", out->param,
                            "'%s' must be a data: URL, or a link that this server has given; it "
                            "does not fetch pictures.",
                            out->param);
    if (!base64_decode(text, strlen(text), &out->data, &out->size, &err))
        return openai_fault(f, 400, "invalid_value", out->param, "Invalid '%s': %s.", out->param,
                            err.msg);
    return true;
}

/* As programs write fields that they do not use. */
static bool is_empty(const cJSON *item)
{
    return cJSON_IsString(item) && !*item->valuestring;
}

/* A list of pictures, or one. */
static bool json_images(struct files *files, struct openai_pictures *p, const cJSON *json,
                        const char *name, struct openai_fault *f)
{
    const cJSON *item = cJSON_IsArray(json) ? json->child : json;
    for (int i = 0; item; item = cJSON_IsArray(json) ? item->next : NULL, i++) {
        char param[24];
        if (is_empty(item))
            continue;
        if (p->count == OPENAI_PICTURES_MAX)
            return too_many(f, name);
        if (cJSON_IsArray(json))
            snprintf(param, sizeof param, "%s[%d]", name, i);
        else
            snprintf(param, sizeof param, "%s", name);
        if (!json_picture(files, item, &p->images[p->count], param, f))
            return false;
        p->count++;
    }
    return true;
}

/* A picture of which there is one at most. */
static bool json_one(struct files *files, const cJSON *json, const char *name,
                     struct openai_picture *out, struct openai_fault *f)
{
    if (cJSON_IsArray(json) && cJSON_GetArraySize(json) > 1)
        return openai_fault(f, 400, "invalid_value", name, "Only one %s may be given.", name);
    if (cJSON_IsArray(json))
        json = json->child;
    return !json || is_empty(json) || json_picture(files, json, out, name, f);
}

bool openai_pictures_json(const struct app *app, const char *visible_key,
                          struct openai_pictures *p, const struct cJSON *image,
                          const struct cJSON *images, const struct cJSON *mask,
                          const struct cJSON *markup, struct openai_fault *f)
{
    struct files files = {app, visible_key, app->settings->max_body_bytes};
    return json_images(&files, p, image, "image", f) &&
           json_images(&files, p, images, "images", f) &&
           json_one(&files, mask, "mask", &p->mask, f) &&
           json_one(&files, markup, "markup", &p->markup, f);
}

void openai_pictures_free(struct openai_pictures *p)
{
    for (int i = 0; i < OPENAI_PICTURES_MAX; i++)
        free(p->images[i].data);
    free(p->mask.data);
    free(p->markup.data);
    *p = (struct openai_pictures){0};
}

/* ---- pixels ---- */

static bool bad_picture(struct openai_fault *f, const char *param, const char *why)
{
    openai_fault(f, 400, "invalid_image_file", param,
                 "Invalid image file or mode for '%s', please check your image file: %s", param,
                 why);
    f->type = "image_generation_user_error";
    return false;
}

static bool picture_fault(const struct err *err, const char *param, struct openai_fault *f)
{
    if (err->code == ERR_BUSY)
        return openai_fault(f, 503, "server_busy", NULL, "%s", err->msg);
    return err->code == ERR_INTERNAL ? no_memory(f) : bad_picture(f, param, err->msg);
}

/* Whether the bytes are a picture that can be painted over; decoded to `out`. */
static bool decode(const struct app *app, const struct openai_picture *picture,
                   struct pictor_image *out, struct openai_fault *f)
{
    struct err err;
    enum image_format format = image_sniff(picture->data, picture->size);
    if (format < IMAGE_PNG || format > IMAGE_WEBP) /* others OpenAI does not take either */
        return openai_fault(f, 400, "unsupported_file_mimetype", picture->param,
                            "Invalid file '%s': unsupported mimetype. Supported file formats are "
                            "'image/jpeg', 'image/png', and 'image/webp'.",
                            picture->param);
    if (!codec_decode(app->codec, picture->data, picture->size, intake_pixels_max(app->settings),
                      out, &err))
        return picture_fault(&err, picture->param, f);
    if (out->width >= SIDE_MIN && out->height >= SIDE_MIN)
        return true;
    char why[80];
    snprintf(why, sizeof why, "it must be at least %dx%d, but is %dx%d", SIDE_MIN, SIDE_MIN,
             out->width, out->height);
    pictor_image_free(out);
    return bad_picture(f, picture->param, why);
}

static bool encode(const struct app *app, const struct pictor_image *image, uint8_t **data,
                   size_t *size, struct openai_fault *f)
{
    struct image_file file;
    struct err err;
    if (!codec_encode(app->codec, image, IMAGE_PNG, 0, NULL, &file, &err))
        return picture_fault(&err, "image", f);
    *data = malloc(file.size);
    *size = file.size;
    if (*data)
        memcpy(*data, file.data, file.size);
    image_file_free(&file);
    return *data || no_memory(f);
}

static size_t pixels_of(const struct pictor_image *image)
{
    return (size_t)image->width * (size_t)image->height;
}

static bool has_clear_parts(const struct pictor_image *image)
{
    for (size_t i = 0; image->channels == 4 && i < pixels_of(image); i++)
        if (image->pixels[4 * i + 3] == 0)
            return true;
    return false;
}

/* OpenAI's masks are transparent where to repaint, a job's are white there. */
static bool white_where_clear(const struct pictor_image *mask, struct pictor_image *white,
                              struct openai_fault *f)
{
    if (!image_new(white, mask->width, mask->height, 1, NULL))
        return no_memory(f);
    for (size_t i = 0; i < pixels_of(mask); i++)
        white->pixels[i] = 255 - mask->pixels[4 * i + 3];
    return true;
}

static bool read_mask(const struct app *app, const struct openai_pictures *p,
                      const struct pictor_image *init, struct pictor_image *white,
                      struct openai_fault *f)
{
    struct pictor_image mask;
    if (!decode(app, &p->mask, &mask, f))
        return false;
    bool ok;
    if (mask.channels != 4)
        ok = openai_fault(f, 400, "invalid_value", p->mask.param,
                          "Invalid mask: it must have an alpha channel; what is transparent is "
                          "repainted.");
    else if (mask.width != init->width || mask.height != init->height)
        ok = openai_fault(f, 400, "invalid_value", p->mask.param,
                          "Invalid mask: it must have the size of the image, %dx%d, but has %dx%d.",
                          init->width, init->height, mask.width, mask.height);
    else
        ok = white_where_clear(&mask, white, f);
    pictor_image_free(&mask);
    return ok;
}

/* Lays the markup over `image`, which becomes RGB. */
static bool lay_over(const struct app *app, const struct openai_pictures *p,
                     struct pictor_image *image, struct openai_fault *f)
{
    struct pictor_image markup, flat;
    if (p->mask.data)
        return openai_fault(f, 400, "invalid_value", p->markup.param,
                            "'markup' cannot be combined with 'mask'.");
    if (!decode(app, &p->markup, &markup, f))
        return false;
    bool ok = true;
    if (markup.width != image->width || markup.height != image->height)
        ok = openai_fault(f, 400, "invalid_value", p->markup.param,
                          "Invalid markup: it must have the size of the image, %dx%d, but has "
                          "%dx%d.",
                          image->width, image->height, markup.width, markup.height);
    else if (!has_clear_parts(&markup))
        ok = openai_fault(f, 400, "invalid_value", p->markup.param,
                          "Invalid markup: it must be transparent where nothing is drawn.");
    else if (!image_convert(image, 3, &flat, NULL))
        ok = no_memory(f);
    if (ok) {
        pictor_image_free(image);
        *image = flat;
    }
    for (size_t i = 0; ok && i < 3 * pixels_of(image); i++) {
        int share = markup.pixels[i / 3 * 4 + 3];
        image->pixels[i] = (uint8_t)((markup.pixels[i / 3 * 4 + i % 3] * share +
                                      image->pixels[i] * (255 - share) + 127) /
                                     255);
    }
    pictor_image_free(&markup);
    return ok;
}

/* The middle of `in` in the shape and size of `like`, RGB. */
static bool fit(const struct pictor_image *in, const struct pictor_image *like,
                struct pictor_image *out, struct openai_fault *f)
{
    struct pictor_image flat = {0}, large = {0};
    double scale_x = (double)like->width / in->width, scale_y = (double)like->height / in->height;
    double scale = scale_x > scale_y ? scale_x : scale_y;
    int width = (int)(in->width * scale + 0.5), height = (int)(in->height * scale + 0.5);
    width = width < like->width ? like->width : width;
    height = height < like->height ? like->height : height;
    struct err err = {.msg = "out of memory"};
    bool ok = image_convert(in, 3, &flat, &err) &&
              image_resize(&flat, width, height, IMAGE_LANCZOS, &large, &err) &&
              image_new(out, like->width, like->height, 3, &err);
    if (!ok) /* a stripe that covers a large picture is larger than any picture may be */
        openai_fault(f, err.code == ERR_INTERNAL ? 500 : 400, NULL, "image",
                     "Invalid images: their shapes differ too much: %s.", err.msg);
    size_t left = (size_t)(width - like->width) / 2, top = (size_t)(height - like->height) / 2;
    for (size_t y = 0; ok && y < (size_t)out->height; y++)
        memcpy(out->pixels + y * (size_t)out->width * 3,
               large.pixels + ((top + y) * (size_t)width + left) * 3, (size_t)out->width * 3);
    pictor_image_free(&flat);
    pictor_image_free(&large);
    return ok;
}

/* Blends the further pictures into `image`, which is the first one. */
static bool blend(const struct app *app, const struct openai_pictures *p,
                  const struct pictor_image *white, struct pictor_image *image,
                  struct openai_fault *f)
{
    struct pictor_image first, mean = {0};
    if (!image_convert(image, 3, &first, NULL))
        return no_memory(f);
    pictor_image_free(image);
    *image = first;
    bool ok = image_convert(image, 3, &mean, NULL) || no_memory(f);
    for (int k = 1; ok && k < p->count; k++) {
        struct pictor_image next, fitted = {0};
        ok = decode(app, &p->images[k], &next, f);
        if (!ok)
            break;
        ok = fit(&next, image, &fitted, f);
        pictor_image_free(&next);
        for (size_t i = 0; ok && i < 3 * pixels_of(&fitted); i++)
            mean.pixels[i] =
                (uint8_t)((mean.pixels[i] * k + fitted.pixels[i] + (k + 1) / 2) / (k + 1));
        pictor_image_free(&fitted);
    }
    for (size_t i = 0; ok && i < 3 * pixels_of(image); i++) {
        int share = white->pixels ? white->pixels[i / 3] : 255; /* 0: protected */
        image->pixels[i] =
            (uint8_t)((mean.pixels[i] * share + image->pixels[i] * (255 - share) + 127) / 255);
    }
    pictor_image_free(&mean);
    return ok;
}

static bool copy(const struct openai_picture *from, uint8_t **data, size_t *size,
                 struct openai_fault *f)
{
    *data = malloc(from->size);
    *size = from->size;
    if (*data)
        memcpy(*data, from->data, from->size);
    return *data || no_memory(f);
}

static bool keep_apart(const struct app *app, const struct openai_pictures *p,
                       struct openai_inputs *out, struct openai_fault *f)
{
    bool ok = true;
    for (int k = 1; ok && k < p->count; k++) {
        struct pictor_image image;
        struct openai_file *file = &out->more[out->more_count];
        if (!decode(app, &p->images[k], &image, f))
            return false;
        pictor_image_free(&image);
        ok = copy(&p->images[k], &file->data, &file->size, f);
        out->more_count += ok;
    }
    return ok;
}

bool openai_pictures_inputs(const struct app *app, const struct openai_pictures *p,
                            bool clear_is_mask, bool apart, struct openai_inputs *out,
                            struct openai_fault *f)
{
    struct pictor_image init, white = {0};
    *out = (struct openai_inputs){0};
    if (!decode(app, &p->images[0], &init, f))
        return false;
    bool ok = true;
    if (p->mask.data)
        ok = read_mask(app, p, &init, &white, f);
    else if (clear_is_mask && has_clear_parts(&init))
        ok = out->clear = white_where_clear(&init, &white, f);
    ok = ok && (!p->markup.data || lay_over(app, p, &init, f));
    out->width = init.width;
    out->height = init.height;
    ok = ok && (!apart || keep_apart(app, p, out, f));
    if (ok && ((p->count > 1 && !apart) || p->markup.data))
        ok = (apart || blend(app, p, &white, &init, f)) &&
             encode(app, &init, &out->init, &out->init_size, f);
    else if (ok)
        ok = copy(&p->images[0], &out->init, &out->init_size, f);
    ok = ok && (!white.pixels || encode(app, &white, &out->mask, &out->mask_size, f));
    pictor_image_free(&init);
    pictor_image_free(&white);
    if (!ok)
        openai_pictures_inputs_free(out);
    return ok;
}

void openai_pictures_inputs_free(struct openai_inputs *in)
{
    free(in->init);
    free(in->mask);
    for (int i = 0; i < in->more_count; i++)
        free(in->more[i].data);
    *in = (struct openai_inputs){0};
}
