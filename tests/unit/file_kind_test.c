/* file_kind_test.c: what a file is told to be. The names are those that diffusers, transformers,
 * PEFT, kohya's scripts and the upscalers of spandrel write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/pictor.h"

#define FILE_NAME "/tmp/file_kind_test.safetensors"

/* One or two tensors, of F16 zeros; of each the name and the shape as it stands in JSON. */
static void put(const char *metadata, const char *name, int rows, int columns, const char *other)
{
    static const char zeros[1 << 20];
    char header[2048];
    int bytes = 2 * rows * columns;
    int n = snprintf(header, sizeof header,
                     "{%s\"%s\":{\"dtype\":\"F16\",\"shape\":[%d,%d],\"data_offsets\":[0,%d]}",
                     metadata, name, rows, columns, bytes);
    if (*other)
        n += snprintf(header + n, sizeof header - (size_t)n,
                      ",\"%s\":{\"dtype\":\"F16\",\"shape\":[1],\"data_offsets\":[%d,%d]}", other,
                      bytes, bytes + 2);
    n += snprintf(header + n, sizeof header - (size_t)n, "}");
    uint64_t size = (uint64_t)n;
    FILE *f = fopen(FILE_NAME, "wb");
    assert_non_null(f);
    fwrite(&size, 8, 1, f);
    fwrite(header, (size_t)n, 1, f);
    fwrite(zeros, (size_t)bytes + (*other ? 2 : 0), 1, f);
    fclose(f);
}

static void kinds(void **state)
{
    static const struct {
        const char *name;
        int rows, columns;
        const char *other;
        enum pictor_kind kind;
        const char *family;
    } cases[] = {
        {"lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", 4,
         768, "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha", PICTOR_KIND_LORA, "sd1"},
        {"unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_A.weight", 2, 1024,
         "", PICTOR_KIND_LORA, "sd2"},
        {"lora_te2_text_model_encoder_layers_0_mlp_fc1.hada_w1_a", 2, 4, "", PICTOR_KIND_LORA,
         "sdxl"},
        {"transformer.single_transformer_blocks.0.attn.to_k.lora_A.weight", 2, 4, "",
         PICTOR_KIND_LORA, "flux"},
        {"transformer.transformer_blocks.0.attn.to_q.lora_A.weight", 4, 1536, "", PICTOR_KIND_LORA,
         "sd3"},
        {"transformer.transformer_blocks.3.attn.add_q_proj.lora_A.weight", 4, 2432, "",
         PICTOR_KIND_LORA, "sd3"},
        {"lora_unet_transformer_blocks_0_attn_to_q.lora_down.weight", 4, 1536, "", PICTOR_KIND_LORA,
         "sd3"},
        {"transformer.transformer_blocks.0.attn.to_q.lora_A.weight", 4, 3072, "", PICTOR_KIND_LORA,
         ""}, /* FLUX.1's or Qwen-Image's */
        {"down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight", 2, 2048,
         "controlnet_cond_embedding.conv_in.bias", PICTOR_KIND_CONTROLNET, "sdxl"},
        {"control_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight", 2, 768, "",
         PICTOR_KIND_CONTROLNET, "sd1"},
        {"decoder.conv_in.weight", 2, 4, "encoder.conv_in.bias", PICTOR_KIND_VAE, ""},
        {"first_stage_model.decoder.conv_in.weight", 2, 4, "", PICTOR_KIND_VAE, ""},
        {"decoder.layers.0.weight", 2, 4, "", PICTOR_KIND_VAE, ""},
        {"text_model.encoder.layers.0.layer_norm1.weight", 2, 4, "", PICTOR_KIND_TEXT_ENCODER, ""},
        {"embeddings.token_embedding.weight", 2, 4, "", PICTOR_KIND_TEXT_ENCODER, ""},
        {"encoder.block.0.layer.0.SelfAttention.q.weight", 2, 4, "shared.weight",
         PICTOR_KIND_TEXT_ENCODER, ""},
        {"model.1.sub.0.RDB1.conv1.0.weight", 2, 4, "model.0.weight", PICTOR_KIND_UPSCALER, ""},
        {"body.0.rdb1.conv1.weight", 2, 4, "conv_first.weight", PICTOR_KIND_UPSCALER, ""},
        {"emb_params", 3, 1024, "", PICTOR_KIND_EMBEDDING, "sd2"},
        {"clip_g", 1, 1280, "clip_l", PICTOR_KIND_EMBEDDING, "sdxl"},
        {"<cat>", 1, 768, "", PICTOR_KIND_EMBEDDING, "sd1"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct pictor_file_info info;
        struct err err = {0};
        put("", cases[i].name, cases[i].rows, cases[i].columns, cases[i].other);
        if (!pictor_file_probe(FILE_NAME, &info, &err))
            fail_msg("%s: %s", cases[i].name, err.msg);
        assert_string_equal(pictor_kind_name(info.kind), pictor_kind_name(cases[i].kind));
        assert_string_equal(info.family, cases[i].family);
        assert_true(info.readable);
    }
    unlink(FILE_NAME);
}

static void words_come_from_the_metadata(void **state)
{
    struct pictor_file_info info;
    struct err err = {0};
    (void)state;
    put("\"__metadata__\":{\"modelspec.title\":\"Ink\","
        "\"modelspec.trigger_phrase\":\"ink style\"},",
        "lora_unet_x.lora_up.weight", 1, 1, "");
    assert_true(pictor_file_probe(FILE_NAME, &info, &err));
    assert_string_equal(info.title, "Ink");
    assert_string_equal(info.trigger, "ink style");
    unlink(FILE_NAME);
}

static void what_is_nothing_says_so(void **state)
{
    struct pictor_file_info info;
    struct err err = {0};
    (void)state;
    put("", "vision_model.embeddings.class_embedding", 1, 8, "");
    assert_false(pictor_file_probe(FILE_NAME, &info, &err));
    assert_int_equal(info.kind, PICTOR_KIND_UNKNOWN);
    assert_true(info.readable);
    assert_int_equal(err.code, ERR_INVALID);
    FILE *f = fopen(FILE_NAME, "w");
    fputs("<!DOCTYPE html><html>", f);
    fclose(f);
    assert_false(pictor_file_probe(FILE_NAME, &info, &err));
    assert_false(info.readable);
    unlink(FILE_NAME);
    assert_false(pictor_file_probe(FILE_NAME, &info, &err));
    assert_int_equal(err.code, ERR_NOT_FOUND);
    assert_int_equal(info.kind, PICTOR_KIND_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kinds),
        cmocka_unit_test(words_come_from_the_metadata),
        cmocka_unit_test(what_is_nothing_says_so),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
