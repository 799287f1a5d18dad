/* image_webp.c: Pixels go through libwebp, the container with its EXIF chunk through libwebpmux. */
#include "engine/io/image_webp.h"

#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include "engine/io/image_exif.h"
#include "engine/io/image_mark.h"

#define TEXT_MAX (4 << 20) /* of EXIF; the format has no limit of its own worth mentioning */

static bool read_head(const uint8_t *data, size_t size, WebPBitstreamFeatures *features,
                      struct err *err)
{
    VP8StatusCode status = WebPGetFeatures(data, size, features);
    if (status != VP8_STATUS_OK)
        return err_set(err, ERR_INVALID, "WebP: %s",
                       status == VP8_STATUS_NOT_ENOUGH_DATA ? "the file ends too early"
                                                            : "no valid header");
    if (features->has_animation)
        return err_set(err, ERR_UNSUPPORTED, "WebP: a still picture wanted, got an animation");
    return true;
}

/* A chunk, or of size 0; it points into the mux (may be NULL). */
static WebPData chunk_of(const WebPMux *mux, const char *name)
{
    WebPData chunk;
    WebPDataInit(&chunk);
    if (mux && WebPMuxGetChunk(mux, name, &chunk) != WEBP_MUX_OK)
        WebPDataInit(&chunk);
    return chunk;
}

/* The EXIF chunk; the mux is to be deleted afterwards. */
static WebPMux *open_exif(const uint8_t *data, size_t size, WebPData *exif)
{
    WebPData file = {data, size};
    WebPMux *mux = WebPMuxCreate(&file, 0);
    *exif = chunk_of(mux, "EXIF");
    return mux;
}

static int orientation_of(const uint8_t *data, size_t size)
{
    WebPData exif;
    WebPMux *mux = open_exif(data, size, &exif);
    int orientation = image_exif_orientation(exif.bytes, exif.size);
    WebPMuxDelete(mux);
    return orientation;
}

bool image_webp_probe(const uint8_t *data, size_t size, struct image_header *out, int *orientation,
                      struct err *err)
{
    WebPBitstreamFeatures features;
    if (!read_head(data, size, &features, err) ||
        !image_check_size((uint32_t)features.width, (uint32_t)features.height, SIZE_MAX, err))
        return false;
    *out = (struct image_header){IMAGE_WEBP, features.width, features.height};
    *orientation = orientation_of(data, size);
    return true;
}

bool image_webp_decode(const uint8_t *data, size_t size, size_t max_pixels,
                       struct pictor_image *out, int *orientation, struct err *err)
{
    WebPBitstreamFeatures features;
    struct pictor_image image = {0};
    if (!read_head(data, size, &features, err) ||
        !image_check_size((uint32_t)features.width, (uint32_t)features.height, max_pixels, err) ||
        !image_new(&image, features.width, features.height, features.has_alpha ? 4 : 3, err))
        return false;
    size_t stride = (size_t)image.width * (size_t)image.channels;
    size_t bytes = stride * (size_t)image.height;
    uint8_t *done = features.has_alpha
                        ? WebPDecodeRGBAInto(data, size, image.pixels, bytes, (int)stride)
                        : WebPDecodeRGBInto(data, size, image.pixels, bytes, (int)stride);
    if (!done) {
        pictor_image_free(&image);
        return err_set(err, ERR_INVALID, "WebP: the pixels are damaged or end too early");
    }
    *orientation = orientation_of(data, size);
    *out = image;
    return true;
}

bool image_webp_texts(const uint8_t *data, size_t size, struct image_texts *out, struct err *err)
{
    WebPBitstreamFeatures features;
    if (!read_head(data, size, &features, err))
        return false;
    WebPData exif;
    WebPMux *mux = open_exif(data, size, &exif);
    WebPData xmp = chunk_of(mux, "XMP ");
    bool ok = exif.size == 0 || image_texts_from_exif(exif.bytes, exif.size, out, err);
    ok = ok && (xmp.size == 0 || image_texts_add(out, IMAGE_MARK_KEY, (const char *)xmp.bytes,
                                                 xmp.size, err));
    WebPMuxDelete(mux);
    return ok;
}

/* `file` with a text in an EXIF chunk and XMP (either may be NULL), in memory of libwebp's. */
static bool add_texts(const WebPData *file, const char *text, const char *xmp, WebPData *out)
{
    WebPData exif = {0}, packet = {(const uint8_t *)xmp, xmp ? strlen(xmp) : 0};
    uint8_t *block = text ? image_exif_build(text, TEXT_MAX, &exif.size) : NULL;
    exif.bytes = block;
    WebPMux *mux = WebPMuxNew();
    WebPDataInit(out);
    bool ok = (block || !text) && mux && WebPMuxSetImage(mux, file, 0) == WEBP_MUX_OK &&
              (!text || WebPMuxSetChunk(mux, "EXIF", &exif, 0) == WEBP_MUX_OK) &&
              (!xmp || WebPMuxSetChunk(mux, "XMP ", &packet, 0) == WEBP_MUX_OK) &&
              WebPMuxAssemble(mux, out) == WEBP_MUX_OK;
    WebPMuxDelete(mux);
    free(block);
    return ok;
}

bool image_encode_webp(const struct pictor_image *image, int quality, const char *parameters,
                       const char *xmp, struct image_file *out, struct err *err)
{
    struct pictor_image rgb = {0};
    WebPData plain = {0}, file = {0};
    uint8_t *encoded = NULL;
    *out = (struct image_file){0};
    if (!image_check(image, err))
        return false;
    if (image->width > WEBP_MAX_DIMENSION || image->height > WEBP_MAX_DIMENSION)
        return err_set(err, ERR_TOO_LARGE, "WebP: at most %d pixels a side, got %d x %d",
                       WEBP_MAX_DIMENSION, image->width, image->height);
    if (image->channels == 1) {
        if (!image_convert(image, 3, &rgb, err))
            return false;
        image = &rgb;
    }
    int stride = image->width * image->channels;
    plain.size = (image->channels == 4 ? WebPEncodeRGBA : WebPEncodeRGB)(
        image->pixels, image->width, image->height, stride, (float)quality, &encoded);
    plain.bytes = encoded;
    pictor_image_free(&rgb);
    bool ok = plain.size > 0;
    if (ok && (parameters || xmp)) {
        ok = add_texts(&plain, parameters, xmp, &file);
        WebPFree(encoded);
    } else {
        file = plain;
    }
    if (!ok)
        return err_set(err, ERR_INTERNAL, "WebP: encoding failed");

    /* libwebp's memory is its own allocator's; an image_file is malloc's. */
    out->data = malloc(file.size);
    if (out->data) {
        memcpy(out->data, file.bytes, file.size);
        out->size = file.size;
    }
    WebPFree((void *)file.bytes);
    return out->data || err_set(err, ERR_INTERNAL, "WebP: no memory");
}
