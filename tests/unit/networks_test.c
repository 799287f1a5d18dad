/* networks_test.c: checkpoints whose tensors fit each other, but of sizes that the networks are not
 * made for. The tiny golden model with other shapes and zeros in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/io/safetensors.h"
#include "engine/model/clip.h"
#include "engine/model/unet.h"

#define MODEL "tests/golden/tiny/tiny-ldm.safetensors"
#define UNET "model.diffusion_model."

/* Tensors whose name ends so get another size in one dimension. */
struct edit {
    const char *ending;
    int dim;
    size_t size;
};

static bool ends_with(const char *name, const char *ending)
{
    size_t n = strlen(name), e = strlen(ending);
    return n >= e && strcmp(name + n - e, ending) == 0;
}

/* One byte an element. `extra` is put into the header as it is, its data at the end. */
static unsigned char *remade(const struct edit *edits, const char *extra, size_t extra_bytes,
                             size_t *size)
{
    struct err err;
    struct safetensors *st = safetensors_open(MODEL, &err);
    assert_non_null(st);
    size_t room = 300 * (safetensors_count(st) + 1), used = 0, at = extra_bytes;
    char *header = malloc(room);
    assert_non_null(header);
    used += (size_t)snprintf(header, room, "{%s", extra);
    for (size_t i = 0; i < safetensors_count(st); i++) {
        struct raw_tensor t = *safetensors_at(st, i);
        size_t bytes = 1;
        for (const struct edit *e = edits; e->ending; e++)
            if (ends_with(t.name, e->ending))
                t.shape[e->dim] = e->size;
        used +=
            (size_t)snprintf(header + used, room - used,
                             "%s\"%s\":{\"dtype\":\"F8_E4M3\",\"shape\":[", i ? "," : "", t.name);
        for (int d = 0; d < t.ndim; d++) {
            bytes *= t.shape[d];
            used += (size_t)snprintf(header + used, room - used, "%s%zu", d ? "," : "", t.shape[d]);
        }
        used += (size_t)snprintf(header + used, room - used, "],\"data_offsets\":[%zu,%zu]}", at,
                                 at + bytes);
        assert_true(used < room);
        at += bytes;
    }
    header[used++] = '}';
    *size = 8 + used + at;
    unsigned char *file = calloc(*size, 1);
    assert_non_null(file);
    for (int i = 0; i < 8; i++)
        file[i] = (unsigned char)((uint64_t)used >> 8 * i);
    memcpy(file + 8, header, used);
    free(header);
    safetensors_close(st);
    return file;
}

/* The tensors are all there, and yet the networks must not load (or must, without edits). */
static void try(const struct edit *edits, const char *extra, size_t extra_bytes, const char *word)
{
    struct err err = {0};
    size_t size;
    struct clip_config text;
    struct unet_config net;
    unsigned char *file = remade(edits, extra, extra_bytes, &size);
    struct checkpoint *cp = checkpoint_open_memory(file, size, &err);
    struct device_options options = {.threads = 1, .bf16 = 1};
    struct device *dev = device_new(&options, &err);
    if (!dev || !cp || !clip_read(cp, CLIP_FIRST, &text, &err) || !unet_read(cp, &net, &err))
        fail_msg("%s", err.msg);
    net.heads = 8;
    struct clip *clip = clip_load(dev, cp, &text, NULL, &err);
    struct unet *unet = clip ? unet_load(dev, cp, &net, NULL, &err) : NULL;
    if (!word != (unet != NULL))
        fail_msg("%s: %s", word ? word : "unchanged", unet ? "was loaded" : err.msg);
    if (word) {
        assert_int_equal(err.code, ERR_UNSUPPORTED);
        assert_non_null(strstr(err.msg, word));
    }
    unet_free(unet);
    clip_free(clip);
    device_free(dev);
    checkpoint_free(cp);
    free(file);
}

static void test_sizes(void **state)
{
    static const struct edit none[] = {{0}};
    static const struct edit time[] = {{"time_embed.0.weight", 0, 40},
                                       {"time_embed.0.bias", 0, 40},
                                       {"time_embed.2.weight", 0, 40},
                                       {"time_embed.2.weight", 1, 40},
                                       {"time_embed.2.bias", 0, 40},
                                       {"emb_layers.1.weight", 1, 40},
                                       {0}};
    static const struct edit inside[] = {
        {"mlp.fc1.weight", 0, 40}, {"mlp.fc1.bias", 0, 40}, {"mlp.fc2.weight", 1, 40}, {0}};
    static const struct edit first[] = {{"input_blocks.0.0.weight", 0, 64},
                                        {"input_blocks.0.0.bias", 0, 64},
                                        {"time_embed.0.weight", 1, 64},
                                        {"input_blocks.1.0.in_layers.0.weight", 0, 64},
                                        {"input_blocks.1.0.in_layers.0.bias", 0, 64},
                                        {"input_blocks.1.0.in_layers.2.weight", 1, 64},
                                        {"output_blocks.11.0.in_layers.0.weight", 0, 96},
                                        {"output_blocks.11.0.in_layers.0.bias", 0, 96},
                                        {"output_blocks.11.0.in_layers.2.weight", 1, 96},
                                        {"output_blocks.11.0.skip_connection.weight", 1, 96},
                                        {UNET "out.0.weight", 0, 64},
                                        {UNET "out.0.bias", 0, 64},
                                        {UNET "out.2.weight", 1, 64},
                                        {0}};
    static const char skip[] =
        "\"" UNET "input_blocks.1.0.skip_connection.weight\":{\"dtype\":\"F8_E4M3\","
        "\"shape\":[32,64],\"data_offsets\":[0,2048]},"
        "\"" UNET "input_blocks.1.0.skip_connection.bias\":{\"dtype\":\"F8_E4M3\","
        "\"shape\":[32],\"data_offsets\":[2048,2080]},";
    try(none, "", 0, NULL);
    try(time, "", 0, "time embedding of 40");
    try(inside, "", 0, "40 inside");
    try(first, skip, 2080, "begins with 64");
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
