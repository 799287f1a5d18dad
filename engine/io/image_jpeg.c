/* image_jpeg.c: libjpeg reports errors by longjmp; as in image_png.c, whatever outlives one is in a
 * struct of the caller of the function that calls setjmp. */
#include "engine/io/image_jpeg.h"

#include <setjmp.h>
#include <stdio.h> /* jpeglib.h needs FILE */
#include <stdlib.h>
#include <string.h>

#include <jerror.h>
#include <jpeglib.h>

#include "engine/io/image_exif.h"
#include "engine/io/image_mark.h"

/* Progressive files have about ten scans; thousands of them in a small file only cost time. */
#define SCANS_MAX 100
#define EXIF_MARKER (JPEG_APP0 + 1)
#define MARKER_MAX 65533     /* a marker's length has 16 bits and counts itself */
#define EXIF_PREFIX "Exif\0" /* and the literal's own zero */
#define XMP_PREFIX "http://ns.adobe.com/xap/1.0/" /* as that (ISO 16684-3, 1.1.3) */

struct failure {
    struct jpeg_error_mgr base; /* first: libjpeg sees only this */
    jmp_buf jump;
    char msg[JMSG_LENGTH_MAX];
};

static void on_error(j_common_ptr c)
{
    struct failure *f = (struct failure *)c->err;
    c->err->format_message(c, f->msg);
    longjmp(f->jump, 1);
}

/* libjpeg fills the rest of a short file with grey and warns; here that is an error. Other
 * warnings are about harmless oddities. */
static void on_message(j_common_ptr c, int level)
{
    if (level < 0 && c->err->msg_code == JWRN_JPEG_EOF)
        on_error(c);
}

static struct jpeg_error_mgr *failure_init(struct failure *f)
{
    jpeg_std_error(&f->base);
    f->base.error_exit = on_error;
    f->base.emit_message = on_message;
    return &f->base;
}

/* Reading. */

struct reader {
    struct jpeg_decompress_struct c;
    struct failure failure;
    struct jpeg_progress_mgr progress;
    const uint8_t *data;
    size_t size;
    struct pictor_image image;
};

static void on_progress(j_common_ptr c)
{
    if (((j_decompress_ptr)c)->input_scan_number > SCANS_MAX)
        ERREXIT(c, JERR_BAD_PROGRESSION);
}

static bool read_head(struct reader *r)
{
    if (setjmp(r->failure.jump))
        return false;
    jpeg_create_decompress(&r->c);
    r->progress.progress_monitor = on_progress;
    r->c.progress = &r->progress;
    jpeg_mem_src(&r->c, r->data, r->size);
    jpeg_save_markers(&r->c, EXIF_MARKER, 0xFFFF);
    jpeg_read_header(&r->c, TRUE);
    return true;
}

static bool reader_open(struct reader *r, const uint8_t *data, size_t size, struct err *err)
{
    *r = (struct reader){.data = data, .size = size};
    r->c.err = failure_init(&r->failure);
    return read_head(r) || err_set(err, ERR_INVALID, "JPEG: %s", r->failure.msg);
}

static void reader_close(struct reader *r)
{
    jpeg_destroy_decompress(&r->c);
}

/* The first one that begins so. */
static const struct jpeg_marker_struct *marker_of(const struct reader *r, const char *prefix,
                                                  size_t size)
{
    const struct jpeg_marker_struct *m = r->c.marker_list;
    while (m && !(m->data_length >= size && memcmp(m->data, prefix, size) == 0))
        m = m->next;
    return m;
}

static const struct jpeg_marker_struct *exif_of(const struct reader *r)
{
    return marker_of(r, EXIF_PREFIX, sizeof EXIF_PREFIX);
}

static int orientation_of(const struct reader *r)
{
    const struct jpeg_marker_struct *m = exif_of(r);
    return m ? image_exif_orientation(m->data, m->data_length) : 1;
}

/* CMYK as Adobe's programs write it, which is inverted; others hardly exist. */
static void cmyk_to_rgb(uint8_t *out, const uint8_t *in, size_t pixels, bool inverted)
{
    for (size_t i = 0; i < pixels; i++, in += 4, out += 3)
        for (int k = 0; k < 3; k++) {
            int ink = inverted ? in[k] : 255 - in[k], black = inverted ? in[3] : 255 - in[3];
            out[k] = (uint8_t)((ink * black + 127) / 255);
        }
}

static void set_colours(struct reader *r, int *channels)
{
    switch (r->c.jpeg_color_space) {
    case JCS_GRAYSCALE:
        r->c.out_color_space = JCS_GRAYSCALE;
        break;
    case JCS_CMYK:
    case JCS_YCCK:
        r->c.out_color_space = JCS_CMYK;
        break;
    default:
        r->c.out_color_space = JCS_RGB;
        break;
    }
    *channels = r->c.out_color_space == JCS_GRAYSCALE ? 1 : 3;
}

static bool read_pixels(struct reader *r)
{
    if (setjmp(r->failure.jump))
        return false;
    jpeg_start_decompress(&r->c);
    size_t stride = (size_t)r->image.width * (size_t)r->image.channels;
    JSAMPARRAY inks = NULL;
    if (r->c.out_color_space == JCS_CMYK)
        inks = r->c.mem->alloc_sarray((j_common_ptr)&r->c, JPOOL_IMAGE, r->c.output_width * 4, 1);
    while (r->c.output_scanline < r->c.output_height) {
        JSAMPROW row = r->image.pixels + r->c.output_scanline * stride;
        jpeg_read_scanlines(&r->c, inks ? inks : &row, 1);
        if (inks)
            cmyk_to_rgb(row, inks[0], r->c.output_width, r->c.saw_Adobe_marker);
    }
    jpeg_finish_decompress(&r->c);
    return true;
}

bool image_jpeg_probe(const uint8_t *data, size_t size, struct image_header *out, int *orientation,
                      struct err *err)
{
    struct reader r;
    bool ok = reader_open(&r, data, size, err) &&
              image_check_size(r.c.image_width, r.c.image_height, SIZE_MAX, err);
    *out = (struct image_header){IMAGE_JPEG, (int)r.c.image_width, (int)r.c.image_height};
    *orientation = orientation_of(&r);
    reader_close(&r);
    return ok;
}

bool image_jpeg_decode(const uint8_t *data, size_t size, size_t max_pixels,
                       struct pictor_image *out, int *orientation, struct err *err)
{
    struct reader r;
    int channels;
    if (!reader_open(&r, data, size, err) ||
        !image_check_size(r.c.image_width, r.c.image_height, max_pixels, err))
        goto fail;
    *orientation = orientation_of(&r);
    set_colours(&r, &channels);
    if (!image_new(&r.image, (int)r.c.image_width, (int)r.c.image_height, channels, err))
        goto fail;
    if (!read_pixels(&r)) {
        err_set(err, ERR_INVALID, "JPEG: %s", r.failure.msg);
        goto fail;
    }
    *out = r.image;
    reader_close(&r);
    return true;
fail:
    pictor_image_free(&r.image);
    reader_close(&r);
    return false;
}

bool image_jpeg_texts(const uint8_t *data, size_t size, struct image_texts *out, struct err *err)
{
    struct reader r;
    bool ok = reader_open(&r, data, size, err);
    const struct jpeg_marker_struct *m = ok ? exif_of(&r) : NULL;
    const struct jpeg_marker_struct *xmp =
        ok ? marker_of(&r, XMP_PREFIX, sizeof XMP_PREFIX) : NULL;
    if (m)
        ok = image_texts_from_exif(m->data, m->data_length, out, err);
    if (ok && xmp)
        ok = image_texts_add(out, IMAGE_MARK_KEY, (const char *)xmp->data + sizeof XMP_PREFIX,
                             xmp->data_length - sizeof XMP_PREFIX, err);
    reader_close(&r);
    return ok;
}

/* Writing. */

struct writer {
    struct jpeg_compress_struct c;
    struct failure failure;
    unsigned char *data; /* malloc'd by libjpeg */
    unsigned long size;
};

static void write_marker(struct writer *w, const char *prefix, size_t prefix_size, const void *data,
                         size_t size)
{
    jpeg_write_m_header(&w->c, EXIF_MARKER, (unsigned)(prefix_size + size));
    for (size_t i = 0; i < prefix_size; i++)
        jpeg_write_m_byte(&w->c, prefix[i]);
    for (size_t i = 0; i < size; i++)
        jpeg_write_m_byte(&w->c, ((const uint8_t *)data)[i]);
}

static bool write_all(struct writer *w, const struct pictor_image *image, int quality,
                      const uint8_t *exif, size_t exif_size, const char *xmp)
{
    if (setjmp(w->failure.jump))
        return false;
    jpeg_create_compress(&w->c);
    jpeg_mem_dest(&w->c, &w->data, &w->size);
    w->c.image_width = (JDIMENSION)image->width;
    w->c.image_height = (JDIMENSION)image->height;
    w->c.input_components = image->channels;
    w->c.in_color_space = image->channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
    jpeg_set_defaults(&w->c);
    jpeg_set_quality(&w->c, quality, TRUE);
    jpeg_start_compress(&w->c, TRUE);
    if (exif)
        write_marker(w, EXIF_PREFIX, sizeof EXIF_PREFIX, exif, exif_size);
    if (xmp)
        write_marker(w, XMP_PREFIX, sizeof XMP_PREFIX, xmp, strlen(xmp));
    size_t stride = (size_t)image->width * (size_t)image->channels;
    while (w->c.next_scanline < w->c.image_height) {
        JSAMPROW row = image->pixels + w->c.next_scanline * stride;
        jpeg_write_scanlines(&w->c, &row, 1);
    }
    jpeg_finish_compress(&w->c);
    return true;
}

bool image_encode_jpeg(const struct pictor_image *image, int quality, const char *parameters,
                       const char *xmp, struct image_file *out, struct err *err)
{
    struct writer w = {.data = NULL};
    struct pictor_image flat = {0};
    uint8_t *exif = NULL;
    size_t exif_size = 0;
    bool ok = false;
    *out = (struct image_file){0};
    if (!image_check(image, err))
        return false;
    if (xmp && strlen(xmp) > MARKER_MAX - sizeof XMP_PREFIX)
        return err_set(err, ERR_TOO_LARGE, "JPEG: XMP of at most %zu bytes, got %zu",
                       MARKER_MAX - sizeof XMP_PREFIX, strlen(xmp));
    w.c.err = failure_init(&w.failure);
    if (image->channels == 4) {
        if (!image_convert(image, 3, &flat, err))
            goto fail;
        image = &flat;
    }
    if (parameters && !(exif = image_exif_build(parameters, MARKER_MAX - 6, &exif_size))) {
        err_set(err, ERR_INTERNAL, "JPEG: no memory");
        goto fail;
    }
    ok = write_all(&w, image, quality, exif, exif_size, xmp);
    if (ok)
        *out = (struct image_file){w.data, w.size};
    else
        err_set(err, ERR_INTERNAL, "JPEG: %s", w.failure.msg);
fail:
    /* Where libjpeg failed, w.data is not freed: it may have been replaced without a word. The only
     * failure there is here is memory running out. */
    jpeg_destroy_compress(&w.c);
    free(exif);
    pictor_image_free(&flat);
    return ok;
}
