#include "engine/builtin/builtin.h"

#include "engine/base/incbin.h"

INCBIN(builtin_data, "engine/builtin/pictor-mini.safetensors");
INCBIN(builtin_enlarges, "engine/builtin/realesr-animevideov3.safetensors");

const void *builtin_model(size_t *size)
{
    *size = INCBIN_SIZE(builtin_data);
    return builtin_data;
}

const void *builtin_upscaler(size_t *size)
{
    *size = INCBIN_SIZE(builtin_enlarges);
    return builtin_enlarges;
}

const char *builtin_sha256(void)
{
    return BUILTIN_SHA256; /* from the Makefile */
}
