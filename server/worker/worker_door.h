/* worker_door.h: a way for tests to make system calls in a real worker, to see whether the sandbox
 * holds. Only build/tests/door/pictor has it (PICTOR_TEST_DOOR); in the program it is nothing. */
#ifndef PICTOR_SERVER_WORKER_DOOR_H
#define PICTOR_SERVER_WORKER_DOOR_H

#include <stdbool.h>

#include "engine/base/err.h"

#ifdef PICTOR_TEST_DOOR

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

/* "door:[NUMBER, ARGUMENT...]" makes that system call; a text is passed as a pointer to it. False:
 * it did, and the outcome is the error. */
static inline bool worker_door(const char *text, struct err *err)
{
    long n[7] = {0};
    int count = 0;
    if (strncmp(text, "door:", 5) != 0)
        return true;
    cJSON *json = cJSON_Parse(text + 5), *item;
    cJSON_ArrayForEach(item, json) {
        if (count < 7)
            n[count++] = cJSON_IsString(item) ? (long)item->valuestring : (long)item->valuedouble;
    }
    errno = 0;
    long value = syscall(n[0], n[1], n[2], n[3], n[4], n[5], n[6]);
    err_set(err, ERR_INVALID, "PICTOR_TEST_DOOR returned %ld errno %d", value, errno);
    cJSON_Delete(json);
    return false;
}

#else

static inline bool worker_door(const char *text, struct err *err)
{
    return true;
}

#endif

#endif
