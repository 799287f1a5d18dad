/* job_engine.c: words of a job into the engine's enumerations. */
#include "server/job/job_engine.h"

#include <string.h>

void job_engine_copy(const struct job_table *table, const void *job, void *engine)
{
    for (size_t i = 0; i < table->count; i++) {
        const struct job_field *f = &table->fields[i];
        void *to = (char *)engine + f->engine.offset;
        double value = job_field_number(f, job);
        const char *text = f->type == JOB_TEXT   ? job_field_text(f, job)
                           : f->type == JOB_WORD ? f->words[(int)value]
                                                 : NULL;
        switch (f->engine.type) {
        case JOB_NO_PLACE:
            break;
        case JOB_PLACE_TEXT:
            if (text)
                *(const char **)to = text;
            break;
        case JOB_PLACE_INT:
            *(int *)to = (int)value;
            break;
        case JOB_PLACE_FLOAT:
            *(float *)to = (float)value;
            break;
        case JOB_PLACE_DOUBLE:
            *(double *)to = value;
            break;
        case JOB_PLACE_BOOL:
            *(bool *)to = value != 0;
            break;
        case JOB_PLACE_SEED:
            *(uint64_t *)to = job_field_seed(f, job);
            break;
        }
    }
}

void job_engine_params(const struct job_params *job, int index, struct pictor_params *out)
{
    pictor_params_init(out, NULL);
    job_engine_copy(&job_table, job, out);
    out->seed = job_seed(job, index);
    out->subseed = job_subseed(job, index);
}

void job_engine_options(int threads, const char *cpu, const char *precision, size_t memory_limit,
                        struct pictor_engine_options *out)
{
    *out = (struct pictor_engine_options){
        .threads = threads,
        .cpu = *cpu && strcmp(cpu, "auto") != 0 ? cpu : NULL,
        .precision = pictor_precision_of(precision),
        .memory_limit = memory_limit,
    };
}
