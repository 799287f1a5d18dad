/* builtin.h: the model that ships inside the binary, a safetensors file like any other. */
#ifndef PICTOR_ENGINE_BUILTIN_BUILTIN_H
#define PICTOR_ENGINE_BUILTIN_BUILTIN_H

#include <stddef.h>

const void *builtin_model(size_t *size);

/* Of its bytes, in hex. */
const char *builtin_sha256(void);

#endif
