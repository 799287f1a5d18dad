/* image_test.c: pictures of every kind against what Pillow reads from them (tests/golden/
 * image_vectors.py), round trips, damage. */
#include "engine/io/image.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "engine/io/image_mark.h"

#include "tests/golden/image_vectors.h"

#define LIMIT ((size_t)1 << 24)

static size_t bytes_of(const struct pictor_image *image)
{
    return (size_t)image->width * (size_t)image->height * (size_t)image->channels;
}

/* A copy that ends where the allocation ends, so that reading past it is seen. */
static uint8_t *exact_copy(const void *data, size_t size)
{
    uint8_t *copy = malloc(size ? size : 1);
    memcpy(copy, data, size);
    return copy;
}

static struct pictor_image pattern(int width, int height, int channels)
{
    struct pictor_image image;
    assert_true(image_new(&image, width, height, channels, NULL));
    for (size_t i = 0; i < bytes_of(&image); i++)
        image.pixels[i] = (uint8_t)((uint32_t)(i * 2654435761u) >> 20);
    return image;
}

static int worst_difference(const struct pictor_image *image, const uint8_t *want)
{
    int worst = 0;
    for (size_t i = 0; i < bytes_of(image); i++) {
        int d = abs(image->pixels[i] - want[i]);
        worst = d > worst ? d : worst;
    }
    return worst;
}

static void test_decode(void **state)
{
    for (size_t i = 0; i < sizeof image_vectors / sizeof *image_vectors; i++) {
        const struct image_vector *v = &image_vectors[i];
        uint8_t *file = exact_copy(v->file, v->size);
        struct pictor_image image;
        struct image_header header;
        struct err err;
        if (!image_decode(file, v->size, LIMIT, &image, &err))
            fail_msg("%s: %s", v->name, err.msg);
        if (image.width != v->width || image.height != v->height || image.channels != v->channels)
            fail_msg("%s: %d x %d x %d", v->name, image.width, image.height, image.channels);
        assert_true(image_probe(file, v->size, &header, &err));
        assert_int_equal(header.width, v->width);
        assert_int_equal(header.height, v->height);
        assert_int_equal(header.format, image_sniff(file, v->size));
        /* Inverse transforms and CMYK may round differently; the rest is exact. */
        int allowed = strstr(v->name, "jpeg") || strstr(v->name, "lossy") ? 2 : 0;
        int worst = worst_difference(&image, v->pixels);
        if (worst > allowed)
            fail_msg("%s: a pixel is off by %d", v->name, worst);
        pictor_image_free(&image);
        free(file);
    }
}

static void test_texts(void **state)
{
    for (size_t i = 0; i < sizeof text_vectors / sizeof *text_vectors; i++) {
        const struct text_vector *v = &text_vectors[i];
        uint8_t *file = exact_copy(v->file, v->size);
        struct image_texts texts;
        struct err err;
        if (!image_texts_read(file, v->size, &texts, &err))
            fail_msg("%s: %s", v->name, err.msg);
        const char *value = image_texts_get(&texts, v->key);
        if (!value || strcmp(value, v->value) != 0)
            fail_msg("%s: \"%s\"", v->name, value ? value : "none");
        assert_null(image_texts_get(&texts, "no such key"));
        image_texts_free(&texts);
        free(file);
    }
    struct image_texts texts;
    assert_true(image_texts_read(image_vectors[0].file, image_vectors[0].size, &texts, NULL));
    assert_int_equal(texts.count, 0);
    image_texts_free(&texts);
}

static void test_png_round_trip(void **state)
{
    static char latin[] = "caf\xc3\xa9\nSteps: 2", snow[] = "\xe2\x98\x83 \xf0\x9f\x98\x80",
                broken[] = "a\xff\xc3", empty[] = "";
    struct image_text items[] = {
        {"parameters", latin}, {"Snow man", snow}, {"broken", broken}, {"empty", empty}};
    const struct image_texts texts = {items, 4};
    static const int sides[][2] = {{1, 1}, {1, 300}, {300, 1}, {37, 53}};
    for (int channels = 1; channels <= 4; channels++)
        for (int k = 0; k < 4 && channels != 2; k++) {
            struct pictor_image image = pattern(sides[k][0], sides[k][1], channels), back;
            struct image_file file;
            struct image_texts read;
            assert_true(image_encode_png(&image, k ? &texts : NULL, &file, NULL));
            assert_int_equal(image_sniff(file.data, file.size), IMAGE_PNG);
            assert_true(image_decode(file.data, file.size, LIMIT, &back, NULL));
            assert_int_equal(back.channels, channels);
            assert_memory_equal(back.pixels, image.pixels, bytes_of(&image));
            assert_true(image_texts_read(file.data, file.size, &read, NULL));
            assert_int_equal(read.count, k ? 4 : 0);
            if (k) {
                assert_string_equal(image_texts_get(&read, "parameters"), latin);
                assert_string_equal(image_texts_get(&read, "Snow man"), snow);
                assert_string_equal(image_texts_get(&read, "broken"), "a\xef\xbf\xbd\xef\xbf\xbd");
                assert_string_equal(image_texts_get(&read, "empty"), "");
                /* Latin-1 goes into the chunk that every reader knows, before the pixels. */
                const char *at = memmem(file.data, file.size, "tEXtparameters", 14);
                const char *idat = memmem(file.data, file.size, "IDAT", 4);
                assert_non_null(at);
                assert_true(at < idat);
                assert_non_null(memmem(at, 40, "caf\xe9\nSteps", 10));
                assert_non_null(memmem(file.data, file.size, "iTXtSnow man\0\0\0\0\0\xe2", 18));
            }
            image_texts_free(&read);
            image_file_free(&file);
            pictor_image_free(&image);
            pictor_image_free(&back);
        }
}

static void test_png_keys(void **state)
{
    static char value[] = "v";
    static char *const keys[] = {"",
                                 " a",
                                 "a ",
                                 "a  b",
                                 "a\nb",
                                 "\xc3\xa9",
                                 "12345678901234567890123456789012345678901234567890123456789012"
                                 "345678901234567890"};
    struct pictor_image image = pattern(2, 2, 3);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        struct image_text items[] = {{"fine", value}, {keys[i], value}};
        const struct image_texts texts = {items, 2};
        struct image_file file;
        struct err err = {0};
        assert_false(image_encode_png(&image, &texts, &file, &err));
        assert_int_equal(err.code, ERR_INVALID);
        assert_null(file.data);
    }
    pictor_image_free(&image);
}

/* A smooth picture survives; the comment comes back. */
static void test_lossy_round_trip(void **state)
{
    static const char comment[] = "caf\xc3\xa9 \xe2\x98\x83 \xf0\x9f\x98\x80\nSteps: 2";
    for (int jpeg = 0; jpeg < 2; jpeg++)
        for (int channels = 1; channels <= 4; channels++) {
            if (channels == 2)
                continue;
            struct pictor_image image, back;
            struct image_file file;
            struct image_texts texts;
            assert_true(image_new(&image, 45, 33, channels, NULL));
            for (size_t i = 0; i < bytes_of(&image); i++)
                image.pixels[i] =
                    channels == 4 && i % 4 == 3 ? 255 : (uint8_t)(i / (size_t)channels / 7);
            assert_true((jpeg ? image_encode_jpeg : image_encode_webp)(&image, 95, comment, NULL,
                                                                       &file, NULL));
            assert_true(image_decode(file.data, file.size, LIMIT, &back, NULL));
            assert_int_equal(back.width, 45);
            assert_int_equal(back.height, 33);
            assert_int_equal(back.channels, jpeg && channels == 1 ? 1 : 3);
            for (size_t i = 0; i < 45 * 33; i++)
                assert_in_range(back.pixels[i * (size_t)back.channels] + 10,
                                image.pixels[i * (size_t)channels],
                                image.pixels[i * (size_t)channels] + 20u);
            assert_true(image_texts_read(file.data, file.size, &texts, NULL));
            assert_string_equal(image_texts_get(&texts, "parameters"), comment);
            image_texts_free(&texts);
            image_file_free(&file);
            pictor_image_free(&image);
            pictor_image_free(&back);
        }
}

static void test_jpeg_flattens_on_white(void **state)
{
    struct pictor_image image, back;
    struct image_file file;
    assert_true(image_new(&image, 16, 16, 4, NULL)); /* black, transparent */
    assert_true(image_encode_jpeg(&image, 90, NULL, NULL, &file, NULL));
    assert_true(image_decode(file.data, file.size, LIMIT, &back, NULL));
    assert_int_equal(back.pixels[0], 255);
    image_file_free(&file);
    pictor_image_free(&image);
    pictor_image_free(&back);
}

static void test_webp_keeps_alpha(void **state)
{
    struct pictor_image image, back;
    struct image_file file;
    assert_true(image_new(&image, 16, 16, 4, NULL));
    for (size_t i = 3; i < bytes_of(&image); i += 8)
        image.pixels[i] = 255;
    assert_true(image_encode_webp(&image, 90, NULL, NULL, &file, NULL));
    assert_true(image_decode(file.data, file.size, LIMIT, &back, NULL));
    assert_int_equal(back.channels, 4);
    for (size_t i = 3; i < bytes_of(&image); i += 4)
        assert_int_equal(back.pixels[i], image.pixels[i]);
    image_file_free(&file);
    pictor_image_free(&image);
    pictor_image_free(&back);
}

/* A comment beyond a JPEG marker is cut at a whole character; in a WebP it is kept. */
/* Each format has a place for XMP, beside the comment or alone; what it says is found again. */
static void test_mark(void **state)
{
    for (int format = IMAGE_PNG; format <= IMAGE_WEBP; format++)
        for (int mark = IMAGE_MARK_TRAINED; mark <= IMAGE_MARK_COMPOSITE; mark++)
            for (size_t first = 0; first < 2; first++) {
                const char *packet = image_mark_packet((enum image_mark)mark);
                struct image_text items[] = {{(char *)"parameters", (char *)"a cat"},
                                             {(char *)IMAGE_MARK_KEY, (char *)packet}};
                const struct image_texts texts = {items + first, 2 - first};
                struct pictor_image image = pattern(8, 8, 3), back;
                struct image_file file;
                struct image_texts read;
                struct err err;
                assert_true(
                    image_encode(&image, (enum image_format)format, 90, &texts, &file, &err));
                assert_true(image_decode(file.data, file.size, LIMIT, &back, &err));
                assert_true(image_texts_read(file.data, file.size, &read, &err));
                assert_int_equal(read.count, 2 - first);
                assert_string_equal(image_texts_get(&read, IMAGE_MARK_KEY), packet);
                assert_int_equal(image_mark_read(&read), mark);
                image_texts_free(&read);
                image_file_free(&file);
                pictor_image_free(&image);
                pictor_image_free(&back);
            }
}

/* Others write the term as an element, and there are terms that begin alike. */
static void test_mark_of_others(void **state)
{
    static const struct {
        const char *xmp;
        enum image_mark mark;
    } cases[] = {
        {"", IMAGE_MARK_NONE},
        {"trainedAlgorithmicMedia", IMAGE_MARK_NONE},
        {"<x>http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia</x>",
         IMAGE_MARK_TRAINED},
        {"https://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia",
         IMAGE_MARK_COMPOSITE},
        {"http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMediaX",
         IMAGE_MARK_NONE},
        {"cv.iptc.org/newscodes/digitalsourcetype/digitalCapture "
         "cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia",
         IMAGE_MARK_TRAINED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct image_text item = {(char *)IMAGE_MARK_KEY, (char *)cases[i].xmp};
        const struct image_texts texts = {&item, 1};
        assert_int_equal(image_mark_read(&texts), cases[i].mark);
    }
    assert_int_equal(image_mark_after(IMAGE_MARK_TRAINED), IMAGE_MARK_TRAINED);
    assert_int_equal(image_mark_after(IMAGE_MARK_NONE), IMAGE_MARK_COMPOSITE);
}

static void test_long_comment(void **state)
{
    size_t n = 40000;
    char *text = malloc(4 * n + 1);
    for (size_t i = 0; i < n; i++)
        memcpy(text + 4 * i, "\xf0\x9f\x98\x80", 4);
    text[4 * n] = '\0';
    struct pictor_image image = pattern(8, 8, 3);
    for (int jpeg = 0; jpeg < 2; jpeg++) {
        struct image_file file;
        struct image_texts texts;
        assert_true(
            (jpeg ? image_encode_jpeg : image_encode_webp)(&image, 80, text, NULL, &file, NULL));
        assert_true(image_texts_read(file.data, file.size, &texts, NULL));
        size_t kept = strlen(image_texts_get(&texts, "parameters"));
        assert_memory_equal(image_texts_get(&texts, "parameters"), text, kept);
        assert_int_equal(kept % 4, 0);
        if (jpeg)
            assert_in_range(kept, 4 * 16300, 4 * 16384);
        else
            assert_int_equal(kept, 4 * n);
        image_texts_free(&texts);
        image_file_free(&file);
    }
    pictor_image_free(&image);
    free(text);
}

static void test_resize(void **state)
{
    for (size_t i = 0; i < sizeof resize_vectors / sizeof *resize_vectors; i++) {
        const struct resize_vector *v = &resize_vectors[i];
        struct pictor_image source = pattern(11, 7, v->channels), out;
        assert_true(image_resize(&source, v->width, v->height, v->filter, &out, NULL));
        int worst = worst_difference(&out, v->pixels);
        if (worst > 0)
            fail_msg("filter %d, %d channels, %d x %d: a pixel is off by %d", v->filter,
                     v->channels, v->width, v->height, worst);
        pictor_image_free(&source);
        pictor_image_free(&out);
    }
}

static void test_resize_limits(void **state)
{
    struct pictor_image source = pattern(3, 3, 3), out;
    static const int sides[][2] = {{0, 3}, {3, 0}, {-1, 3}, {IMAGE_SIDE_MAX + 1, 1}};
    for (size_t i = 0; i < 4; i++)
        assert_false(image_resize(&source, sides[i][0], sides[i][1], IMAGE_LANCZOS, &out, NULL));
    for (int filter = IMAGE_NEAREST; filter <= IMAGE_LANCZOS; filter++) {
        assert_true(image_resize(&source, 3, 3, filter, &out, NULL));
        assert_memory_equal(out.pixels, source.pixels, bytes_of(&source));
        pictor_image_free(&out);
        assert_true(image_resize(&source, 2000, 1, filter, &out, NULL));
        pictor_image_free(&out);
    }
    pictor_image_free(&source);
    source = (struct pictor_image){4, 4, 3, NULL};
    assert_false(image_resize(&source, 3, 3, IMAGE_BOX, &out, NULL));
}

static void test_convert(void **state)
{
    uint8_t rgba[] = {10, 20, 30, 255, 10, 20, 30, 0, 0, 0, 0, 128};
    struct pictor_image image = {3, 1, 4, rgba}, out;
    assert_true(image_convert(&image, 3, &out, NULL));
    const uint8_t rgb[] = {10, 20, 30, 255, 255, 255, 127, 127, 127};
    assert_memory_equal(out.pixels, rgb, sizeof rgb);
    pictor_image_free(&out);
    assert_true(image_convert(&image, 1, &out, NULL));
    const uint8_t grey[] = {18, 255, 127};
    assert_memory_equal(out.pixels, grey, sizeof grey);
    pictor_image_free(&out);
}

static void test_sniff(void **state)
{
    assert_int_equal(image_sniff("", 0), IMAGE_NONE);
    assert_int_equal(image_sniff("\x89PNG\r\n\x1a", 7), IMAGE_NONE);
    assert_int_equal(image_sniff("RIFF1234WEB", 11), IMAGE_NONE);
    assert_int_equal(image_sniff("GIF89a..........", 16), IMAGE_GIF);
    assert_int_equal(image_sniff("BM................", 18), IMAGE_NONE);
    assert_int_equal(image_sniff("BMxxxx\0\0\0\0\x36\0\0\0\x28\0\0\0", 18), IMAGE_BMP);
    assert_string_equal(image_mime(IMAGE_JPEG), "image/jpeg");
    assert_string_equal(image_extension(IMAGE_JPEG), "jpg");
    assert_string_equal(image_mime(IMAGE_NONE), "application/octet-stream");
    struct pictor_image image;
    struct image_header header;
    struct image_texts texts;
    struct err err = {0};
    assert_false(image_decode("GIF89a", 6, LIMIT, &image, &err));
    assert_int_equal(err.code, ERR_INVALID);
    assert_false(image_probe("GIF89a", 6, &header, &err));
    assert_false(image_texts_read("GIF89a", 6, &texts, &err));
}

/* Any file cut anywhere is an error, except for the odd bytes after the last that count. */
static void test_truncated(void **state)
{
    for (size_t i = 0; i < sizeof image_vectors / sizeof *image_vectors; i++) {
        const struct image_vector *v = &image_vectors[i];
        for (size_t n = 0; n + 2 < v->size; n++) {
            uint8_t *file = exact_copy(v->file, n);
            struct pictor_image image;
            struct image_header header;
            struct image_texts texts;
            struct err err = {0};
            if (image_decode(file, n, LIMIT, &image, &err))
                fail_msg("%s cut to %zu of %zu bytes is decoded", v->name, n, v->size);
            assert_null(image.pixels);
            assert_int_equal(err.code, ERR_INVALID);
            image_probe(file, n, &header, NULL);
            if (image_texts_read(file, n, &texts, NULL))
                image_texts_free(&texts);
            free(file);
        }
    }
}

/* Flipped bytes: an error or a picture, never more. */
static void test_damaged(void **state)
{
    for (size_t i = 0; i < sizeof image_vectors / sizeof *image_vectors; i++) {
        const struct image_vector *v = &image_vectors[i];
        for (size_t n = 0; n < v->size; n++) {
            uint8_t *file = exact_copy(v->file, v->size);
            file[n] ^= (uint8_t)(1 + n * 37 % 255);
            struct pictor_image image;
            struct image_texts texts;
            if (image_decode(file, v->size, LIMIT, &image, NULL))
                pictor_image_free(&image);
            if (image_texts_read(file, v->size, &texts, NULL))
                image_texts_free(&texts);
            free(file);
        }
    }
}

/* Headers that promise more pixels than allowed are refused before anything is allocated. */
static void test_bombs(void **state)
{
    static const uint8_t png[] = {
        0x89, 'P',  'N',  'G',  13,   10,  26,  10,   0,    0,    0,    13,   'I',  'H',  'D',
        'R',  0,    0,    0x4e, 0x20, 0,   0,   0x4e, 0x20, 8,    2,    0,    0,    0,    0xb6,
        0x3c, 0x2f, 0x80, 0,    0,    0,   0,   'I',  'D',  'A',  'T',  0x35, 0xaf, 0x06, 0x1e,
        0,    0,    0,    0,    'I',  'E', 'N', 'D',  0xae, 0x42, 0x60, 0x82}; /* 20,000 x 20,000 */
    struct pictor_image image;
    struct err err = {0};
    uint8_t file[sizeof png];
    memcpy(file, png, sizeof png);
    /* The checksum of IHDR, so that it is not that which is refused. */
    uint32_t crc = 0xffffffff;
    for (size_t i = 12; i < 29; i++) {
        crc ^= file[i];
        for (int k = 0; k < 8; k++)
            crc = crc & 1 ? crc >> 1 ^ 0xedb88320 : crc >> 1;
    }
    crc = ~crc;
    for (int i = 0; i < 4; i++)
        file[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    assert_false(image_decode(file, sizeof file, LIMIT, &image, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);

    /* The same picture of few pixels under a limit of fewer. */
    for (size_t i = 0; i < sizeof image_vectors / sizeof *image_vectors; i++) {
        const struct image_vector *v = &image_vectors[i];
        size_t pixels = (size_t)v->width * (size_t)v->height;
        err.code = ERR_NONE;
        assert_false(image_decode(v->file, v->size, pixels - 1, &image, &err));
        assert_int_equal(err.code, ERR_TOO_LARGE);
        assert_true(image_decode(v->file, v->size, pixels, &image, &err));
        pictor_image_free(&image);
    }

    /* JPEG: 40,000 lines in the frame header. */
    const struct image_vector *v = NULL;
    for (size_t i = 0; !v; i++)
        if (strcmp(image_vectors[i].name, "jpeg") == 0)
            v = &image_vectors[i];
    uint8_t *jpeg = exact_copy(v->file, v->size);
    uint8_t *frame = memmem(jpeg, v->size, "\xff\xc0", 2);
    assert_non_null(frame);
    frame[5] = 0x9c;
    assert_false(image_decode(jpeg, v->size, SIZE_MAX, &image, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    free(jpeg);
}

static void test_encode_checks(void **state)
{
    uint8_t pixels[8] = {0};
    const struct pictor_image bad[] = {{0, 1, 3, pixels},
                                       {1, 0, 3, pixels},
                                       {1, 1, 2, pixels},
                                       {1, 1, 5, pixels},
                                       {1, 1, 3, NULL}};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct image_file file;
        assert_false(image_encode_png(&bad[i], NULL, &file, NULL));
        assert_false(image_encode_jpeg(&bad[i], 80, NULL, NULL, &file, NULL));
        assert_false(image_encode_webp(&bad[i], 80, NULL, NULL, &file, NULL));
    }
    struct pictor_image wide = pattern(16384, 1, 3);
    struct image_file file;
    struct err err;
    assert_false(image_encode_webp(&wide, 80, NULL, NULL, &file, &err));
    assert_int_equal(err.code, ERR_TOO_LARGE);
    pictor_image_free(&wide);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_decode),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_png_round_trip),
        cmocka_unit_test(test_png_keys),
        cmocka_unit_test(test_lossy_round_trip),
        cmocka_unit_test(test_jpeg_flattens_on_white),
        cmocka_unit_test(test_webp_keeps_alpha),
        cmocka_unit_test(test_long_comment),
        cmocka_unit_test(test_mark),
        cmocka_unit_test(test_mark_of_others),
        cmocka_unit_test(test_resize),
        cmocka_unit_test(test_resize_limits),
        cmocka_unit_test(test_convert),
        cmocka_unit_test(test_sniff),
        cmocka_unit_test(test_truncated),
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_encode_checks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
