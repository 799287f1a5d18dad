#include "server/base/machine.h"

#include <stdio.h>
#include <unistd.h>

uint64_t machine_memory(void)
{
    unsigned long long bytes = (unsigned long long)sysconf(_SC_PHYS_PAGES) *
                               (unsigned long long)sysconf(_SC_PAGESIZE),
                       most;
    FILE *f = fopen("/sys/fs/cgroup/memory.max", "re");
    if (f && fscanf(f, "%llu", &most) == 1 && most < bytes)
        bytes = most;
    if (f)
        fclose(f);
    return bytes;
}
