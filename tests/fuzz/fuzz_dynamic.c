/* fuzz_dynamic.c: any bytes as a prompt that chooses, with files of wildcards: it ends, is bounded,
 * and one seed always chooses alike. `make fuzz TARGET=dynamic`, in the repository's folder. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/job/dynamic.h"

static void require(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct wildcards *w;
    struct err err = {0}, other = {0};
    char *text = malloc(size + 1), *out, *again;
    if (!w)
        w = wildcards_new("tests/golden/dynamic/wildcards", &err);
    require(w && text);
    memcpy(text, data, size);
    text[size] = '\0';
    bool ok = dynamic_resolve(text, size, w, &out, &err);
    require(dynamic_resolve(text, size, w, &again, &other) == ok);
    if (ok) {
        require(!out == !again && (!out || strcmp(out, again) == 0));
        require(!out || strlen(out) <= DYNAMIC_BYTES);
    } else {
        require(!out && !again && *err.msg && err.code == other.code);
    }
    free(again);
    free(out);
    free(text);
    return 0;
}
