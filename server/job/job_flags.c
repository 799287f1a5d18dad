#include "server/job/job_flags.h"

#include <stdlib.h>
#include <string.h>

#define FIRST 256  /* of getopt_long's values, behind all letters */
#define COLUMN 37  /* where the help's words begin, as in settings_help */
#define PAIR "WxH" /* of this field and the next one */

static void add(struct job_flags *flags, const struct job_flag *flag, const struct job_field *field)
{
    size_t i = flags->count++;
    bool takes = flag->value != NULL;
    flags->flags[i] = *flag;
    flags->fields[i] = field;
    flags->options[i] =
        (struct option){flag->name, takes ? required_argument : no_argument, NULL, FIRST + (int)i};
    size_t own = 0;
    while (flags->own[own])
        own++;
    snprintf(flags->names[i], sizeof flags->names[i], "--%s%s", flag->name, takes ? "=" : "");
    flags->own[own++] = flags->names[i];
    if (!flag->letter)
        return;
    snprintf(flags->short_names[i], sizeof flags->short_names[i], "-%c%s", flag->letter,
             takes ? "=" : "");
    flags->own[own] = flags->short_names[i];
    size_t letters = strlen(flags->letters);
    snprintf(flags->letters + letters, sizeof flags->letters - letters, "%c%s", flag->letter,
             takes ? ":" : "");
}

void job_flags_add(struct job_flags *flags, const struct job_flag *own, size_t count)
{
    for (size_t i = 0; i < count && flags->count < JOB_FLAGS_MAX; i++)
        add(flags, &own[i], NULL);
}

void job_flags_add_fields(struct job_flags *flags, const struct job_table *table)
{
    for (size_t i = 0; i < table->count && flags->count < JOB_FLAGS_MAX; i++) {
        const struct job_field *f = &table->fields[i];
        const char *value = f->type == JOB_WORD ? "WORD" : f->value;
        struct job_flag flag = {f->flag, f->letter, value, f->doc};
        if (f->flag)
            add(flags, &flag, f);
    }
}

/* " [4]" */
static void say_default(FILE *out, const struct job_field *f)
{
    bool pair = f->value && strcmp(f->value, PAIR) == 0;
    if (f->of_model)
        fputs(" [the model's]", out);
    else if (f->type == JOB_SEED)
        fputs(" [random]", out);
    else if (f->type == JOB_TEXT && f->text && *f->text)
        fprintf(out, " [%s]", f->text);
    else if (f->type == JOB_WORD)
        fprintf(out, " [%s]", f->words[(int)f->usual]);
    else if ((f->type == JOB_WHOLE || f->type == JOB_REAL) && !isnan(f->usual) && !pair)
        fprintf(out, " [%g]", f->usual);
}

void job_flags_help(const struct job_flags *flags, FILE *out)
{
    for (size_t i = 0; i < flags->count; i++) {
        const struct job_flag *flag = &flags->flags[i];
        const struct job_field *f = flags->fields[i];
        int width = flag->letter ? fprintf(out, "  -%c, --%s", flag->letter, flag->name)
                                 : fprintf(out, "  --%s", flag->name);
        for (int w = 0; f && f->words && f->words[w]; w++)
            width += fprintf(out, "%c%s", w ? '|' : ' ', f->words[w]);
        if (flag->value && !(f && f->words))
            width += fprintf(out, " %s", flag->value);
        fprintf(out, "%*s%s", width < COLUMN ? COLUMN - width : 1, "", flag->doc);
        if (f)
            say_default(out, f);
        fputc('\n', out);
    }
}

int job_flags_find(const struct job_flags *flags, int option)
{
    for (size_t i = 0; i < flags->count; i++)
        if (option == FIRST + (int)i || (option && option == flags->flags[i].letter))
            return (int)i;
    return -1;
}

static bool take_pair(const struct job_field *f, void *job, const char *text, struct err *err)
{
    char first[16], second[16], rest;
    return (sscanf(text, "%15[0-9]x%15[0-9]%c", first, second, &rest) == 2 &&
            job_field_read(f, job, first, NULL, NULL) &&
            job_field_read(f + 1, job, second, NULL, NULL)) ||
           err_set(err, ERR_INVALID, "WIDTHxHEIGHT");
}

bool job_flags_take(const struct job_flags *flags, int index, void *job, const char *text,
                    struct err *err)
{
    const struct job_field *f = flags->fields[index];
    struct err why;
    bool taken;
    if (!text) {
        job_field_set_number(f, job, true);
        return true;
    }
    if (f->value && strcmp(f->value, PAIR) == 0)
        taken = take_pair(f, job, text, &why);
    else
        taken = job_field_read(f, job, text, f->words, &why);
    if (taken)
        return true;
    if (why.code != ERR_INVALID)
        return err_set(err, why.code, "%s", why.msg);
    return err_set(err, ERR_INVALID, "--%s must be %s, got '%.64s'", f->flag, why.msg, text);
}
