/* server_fixture.h: a data folder, a store, a hub and a queue of their own for a unit test. */
#ifndef PICTOR_TESTS_UNIT_SERVER_FIXTURE_H
#define PICTOR_TESTS_UNIT_SERVER_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "engine/base/log.h"
#include "server/base/settings.h"
#include "server/queue/events.h"
#include "server/queue/queue.h"
#include "server/store/blobs.h"
#include "server/store/store.h"

struct fixture {
    char data[64];
    struct settings *settings;
    struct store *store;
    struct blobs *blobs;
    struct events *events;
    struct queue *queue;
};

/* Asserts that a call worked, and says why it did not. */
#define assert_ok(call, err)                                                                       \
    do {                                                                                           \
        if (!(call))                                                                               \
            fail_msg("%s: %s", #call, (err).msg);                                                  \
    } while (0)

static inline void fixture_open(struct fixture *f)
{
    struct err err;
    assert_ok(f->store = store_open(&(struct store_place){.data = f->data},
                                    STORE_ALONE, &err), err);
    assert_ok(f->events = events_new(&err), err);
    assert_ok(f->blobs = blobs_new(f->data, f->settings, &err), err);
    assert_ok(f->queue = queue_new(f->store, f->blobs, f->events, f->settings, &err), err);
}

static inline void fixture_close(struct fixture *f)
{
    queue_free(f->queue);
    events_free(f->events);
    blobs_free(f->blobs);
    store_close(f->store);
    f->queue = NULL;
    f->events = NULL;
    f->store = NULL;
    f->blobs = NULL;
}

static inline int fixture_setup(void **state)
{
    struct err err;
    struct fixture *f = calloc(1, sizeof *f);
    log_set_level(LOG_ERROR);
    snprintf(f->data, sizeof f->data, P_tmpdir "/pictor-test-XXXXXX");
    assert_non_null(mkdtemp(f->data));
    assert_ok(f->settings = settings_new(&err), err);
    fixture_open(f);
    *state = f;
    return 0;
}

static inline int fixture_teardown(void **state)
{
    struct fixture *f = *state;
    char command[128];
    fixture_close(f);
    settings_free(f->settings);
    snprintf(command, sizeof command, "rm -rf '%s'", f->data);
    int rc = system(command);
    free(f);
    return rc;
}

/* A small valid request. */
static inline void fixture_params(struct job_params *p, const char *model, const char *prompt,
                                  int count)
{
    job_params_init(p);
    p->model = strdup(model);
    p->prompt = strdup(prompt);
    p->width = p->height = 64;
    p->count = count;
}

static inline void fixture_submit(struct fixture *f, const char *key_id, int priority,
                                  const char *prompt, int count, char id[JOB_ID_SIZE])
{
    struct err err;
    struct job_params p;
    fixture_params(&p, "m", prompt, count);
    assert_ok(queue_submit(f->queue, key_id, priority, false, &p, NULL, 0, id, &err), err);
    job_params_free(&p);
}

/* Claims a job that must be there. */
static inline void fixture_claim(struct fixture *f, struct job *job, struct claim *claim)
{
    struct err err;
    assert_ok(queue_claim(f->queue, "test", NULL, 0, job, claim, &err), err);
}

static inline enum job_state fixture_state(struct fixture *f, const char *id)
{
    struct err err;
    struct job job;
    assert_ok(queue_get(f->queue, id, NULL, &job, &err), err);
    job_free(&job);
    return job.state;
}

static inline void assert_file_begins(struct fixture *f, const struct job_image *image,
                                      const char *bytes, size_t count)
{
    struct err err;
    char found[64];
    int fd = queue_image_open(f->queue, image, &err);
    assert_true(fd >= 0);
    assert_true(count <= sizeof found);
    assert_int_equal(read(fd, found, count), count);
    assert_memory_equal(found, bytes, count);
    close(fd);
}

static inline void fixture_store_image(struct fixture *f, const struct claim *claim, int index,
                                       const char *bytes, struct job_image *image)
{
    struct err err;
    *image = (struct job_image){.index = index,
                                .width = 64,
                                .height = 64,
                                .seed = 7,
                                .format = IMAGE_PNG,
                                .infotext = "prompt"};
    assert_ok(queue_store_image(f->queue, claim, image, bytes, strlen(bytes), &err), err);
}

#endif
