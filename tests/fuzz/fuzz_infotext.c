/* fuzz_infotext.c: any bytes as the text in a stranger's picture: its pairs, the job it speaks of,
 * and that job's own text, which must say the job again. `make fuzz TARGET=infotext` */
#include <cjson/cJSON.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "server/job/job_field.h"
#include "server/job/infotext_job.h"

static void require(bool ok)
{
    if (!ok)
        abort();
}

/* What the text `text` makes of a job, written again; owned. */
static char *again(const char *text)
{
    struct infotext read;
    struct job_params job;
    bool said[JOB_TABLE_MAX];
    struct err err;
    require(infotext_read(&read, text));
    require(read.prompt && read.negative_prompt && read.count <= INFOTEXT_PAIRS_MAX);
    for (size_t i = 0; i < read.count; i++)
        require(infotext_get(&read, read.pairs[i].key) == read.pairs[i].value);
    cJSON *json = infotext_to_json(&read);
    require(json != NULL);
    cJSON_Delete(json);
    require(infotext_to_job(&read, &job_table, &job, said, &err));
    char *written = infotext_write(&job, &(struct infotext_picture){.seed = 1});
    require(written != NULL);
    job_params_free(&job);
    infotext_free(&read);
    return written;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = malloc(size + 1);
    require(text != NULL);
    memcpy(text, data, size);
    text[size] = '\0';
    char *first = again(text), *second = again(first), *third = again(second);
    /* A stranger's prompt may look like settings; from the second reading on nothing changes. */
    require(strcmp(second, third) == 0);
    free(text);
    free(first);
    free(second);
    free(third);
    return 0;
}
