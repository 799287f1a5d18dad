/* fuzz_settings.c: any bytes as a settings file. `make fuzz TARGET=settings` */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "server/base/settings.h"

static void require(bool ok)
{
    if (!ok)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char path[40], program[] = "pictor", flag[] = "--config";
    char *argv[] = {program, flag, path, NULL};
    int argc = 3;
    struct err err = {0};
    int fd = memfd_create("settings", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size && lseek(fd, 0, SEEK_SET) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct settings *s = settings_load(&argc, argv, NULL, &err);
    if (s) {
        struct sockaddr_storage address;
        socklen_t length;
        require(argc == 1 && s->max_steps >= 1 && s->max_steps <= 1000);
        require(settings_listen_address(s, &address, &length, &err) || *err.msg);
        settings_free(s);
    } else {
        require(*err.msg);
    }
    close(fd);
    return 0;
}
