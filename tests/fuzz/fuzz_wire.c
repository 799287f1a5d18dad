/* fuzz_wire.c: any bytes as what a worker says to the server. `make fuzz TARGET=wire` */
#include <cjson/cJSON.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/worker/wire.h"

static void require(bool ok)
{
    if (!ok)
        abort();
}

static void check_message(struct wire_message *m)
{
    require(cJSON_IsObject(m->json) && (m->binary != NULL) == (m->binary_size > 0));
    require(m->fd_count == 0); /* nobody asked for any */
    require(wire_type(m) && wire_string(m, "message"));
    int64_t step = wire_integer(m, "step", 0, 1000, -1);
    require(step >= -1 && step <= 1000);
    wire_number(m, "seconds", 0);
    wire_message_free(m);
    require(!m->json && !m->binary);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct wire_reader reader;
    struct wire_message m;
    struct err err = {0};
    int fd = memfd_create("wire", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
    wire_reader_init(&reader, fd, (struct wire_limits){.json = 4096, .binary = 65536});
    enum wire_result result;
    while ((result = wire_read(&reader, &m, &err)) == WIRE_MESSAGE)
        check_message(&m);
    require(result == WIRE_CLOSED || (result == WIRE_FAILED && *err.msg));
    require(!m.json && !m.binary);
    wire_reader_free(&reader);
    close(fd);
    return 0;
}
