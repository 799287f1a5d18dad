/* job_flags.h: the flags of `pictor generate`: those of a table of fields, and the command's own.
 *
 * getopt_long's tables, the list that settings_load wants and --help come from the same lines.
 * Thread-safe; no state. */
#ifndef PICTOR_SERVER_JOB_FLAGS_H
#define PICTOR_SERVER_JOB_FLAGS_H

#include <getopt.h>
#include <stdio.h>

#include "server/job/job_field.h"

#define JOB_FLAGS_MAX (JOB_TABLE_MAX + 16)

/* A flag that is no field of a job. */
struct job_flag {
    const char *name;
    char letter;       /* or 0 */
    const char *value; /* "FILE", in --help; NULL: it takes none */
    const char *doc;
};

/* Zero it and job_flags_add to it; names are borrowed. */
struct job_flags {
    size_t count;
    struct job_flag flags[JOB_FLAGS_MAX];
    const struct job_field *fields[JOB_FLAGS_MAX]; /* which a flag sets; NULL: the command's own */
    char names[JOB_FLAGS_MAX][40];                 /* what follows is for the functions there are */
    struct option options[JOB_FLAGS_MAX + 1];      /* getopt_long; `val` is index + 256 */
    char letters[2 * JOB_FLAGS_MAX + 1];
    const char *own[2 * JOB_FLAGS_MAX + 1]; /* settings_load: "--steps=", "-p=" */
    char short_names[JOB_FLAGS_MAX][4];
};

void job_flags_add(struct job_flags *flags, const struct job_flag *own, size_t count);
void job_flags_add_fields(struct job_flags *flags, const struct job_table *table);

/* A line a flag, in the order in which they were added. */
void job_flags_help(const struct job_flags *flags, FILE *out);

/* The index of what getopt_long returned, or -1. */
int job_flags_find(const struct job_flags *flags, int option);

/* Sets the field of flag `index`; `text` is NULL where it takes none. */
bool job_flags_take(const struct job_flags *flags, int index, void *job, const char *text,
                    struct err *err);

#endif
