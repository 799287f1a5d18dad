/* builtin.h: the model that ships inside the binary, a safetensors file like any other, and the
 * network that enlarges pictures, another one. */
#ifndef PICTOR_ENGINE_BUILTIN_BUILTIN_H
#define PICTOR_ENGINE_BUILTIN_BUILTIN_H

#include <stddef.h>

const void *builtin_model(size_t *size);

const void *builtin_upscaler(size_t *size);

/* Of the model's bytes, in hex. */
const char *builtin_sha256(void);

#endif
