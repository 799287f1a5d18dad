/* fields_test.c: the table of a job's fields. A line that is added to a copy of it shows up
 * everywhere; and a job, its JSON and its infotext say the same. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>
#include <cmocka.h>

#include "engine/pictor.h"
#include "server/base/json_fields.h"
#include "server/base/json_text.h"
#include "server/base/settings.h"
#include "server/job/infotext_job.h"
#include "server/job/job.h"
#include "server/job/job_engine.h"
#include "server/job/job_flags.h"

/* ---- a line more ---- */

struct job_and_more {
    struct job_params p;
    double sharpness;
    int ink;
};

struct engine_and_more {
    struct pictor_params p;
    float sharpness;
    int ink;
};

static const char *const inks[] = {"black", "sepia", NULL};

static const struct job_field more[] = {
    {.name = "sharpness",
     .type = JOB_REAL,
     .offset = offsetof(struct job_and_more, sharpness),
     .doc = "how sharp its edges are",
     .usual = 2,
     .least = 1,
     .most = 5,
     .engine = JOB_PLACE(engine_and_more, sharpness),
     .infotext = "Sharpness",
     .silent = 2,
     .flag = "sharpness",
     .value = "X"},
    {.name = "ink",
     .type = JOB_WORD,
     .offset = offsetof(struct job_and_more, ink),
     .doc = "what it is drawn with",
     .words = inks,
     .engine = JOB_PLACE(engine_and_more, ink),
     .infotext = "Ink",
     .flag = "ink"},
};
#define MORE (sizeof more / sizeof *more)

static struct job_table copy_with_more(struct job_field fields[JOB_TABLE_MAX])
{
    memcpy(fields, job_table.fields, job_table.count * sizeof *fields);
    memcpy(fields + job_table.count, more, sizeof more);
    return (struct job_table){fields, job_table.count + MORE};
}

static void request(const struct job_table *table, struct job_and_more *job, cJSON *body)
{
    struct json_field rows[JOB_TABLE_MAX];
    struct json_problem problem;
    struct err err;
    size_t count = job_field_rows(table, rows);
    job_field_init(table, job);
    if (!json_fields_parse(rows, count, body, JSON_FIELDS_STRICT, job, &problem))
        fail_msg("%s", problem.message);
    assert_true(job_field_own(table, job, body, &err));
    assert_true(job_field_fill(table, job, &err));
    job->p.width = job->p.height = 64;
}

static const char *text_of(const cJSON *json, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
}

static void a_line_more_is_found_everywhere(void **state)
{
    struct job_field fields[JOB_TABLE_MAX];
    struct job_table table = copy_with_more(fields);
    struct job_and_more job, back;
    struct engine_and_more engine;
    struct err err;
    struct settings *settings = settings_new(&err);
    const char *param = NULL;

    /* A request, by the rows that parse it. */
    cJSON *body = cJSON_Parse("{\"prompt\":\"a cat\",\"sharpness\":3.5,\"ink\":\"sepia\"}");
    request(&table, &job, body);
    assert_true(job.sharpness == 3.5 && job.ink == 1);
    cJSON_Delete(body);

    /* JSON, as it is stored and answered. */
    cJSON *json = job_field_to_json(&table, &job);
    assert_true(cJSON_GetNumberValue(cJSON_GetObjectItem(json, "sharpness")) == 3.5);
    assert_string_equal(text_of(json, "ink"), "sepia");
    assert_true(job_field_from_json(&table, &back, json, &err));
    assert_true(back.sharpness == 3.5 && back.ink == 1);
    job_field_free(&table, &back);
    cJSON_DeleteItemFromObject(json, "sharpness"); /* of an older version */
    assert_true(job_field_from_json(&table, &back, json, &err));
    assert_true(back.sharpness == 2);
    job_field_free(&table, &back);
    cJSON_Delete(json);

    /* The check. */
    assert_true(job_field_check(&table, &job, settings, &param, &err));
    job.sharpness = 6;
    assert_false(job_field_check(&table, &job, settings, &param, &err));
    assert_string_equal(param, "sharpness");
    job.sharpness = 3.5;

    /* The engine. */
    job_engine_copy(&table, &job, &engine);
    assert_true(engine.sharpness == 3.5f && engine.ink == 1);

    /* The infotext, both ways. */
    struct infotext_picture picture = {.seed = 7};
    char *text = infotext_write_by(&table, &job, &picture);
    assert_non_null(strstr(text, ", Sharpness: 3.5, Ink: sepia, "));
    struct infotext t;
    bool said[JOB_TABLE_MAX];
    assert_true(infotext_read(&t, text));
    assert_true(infotext_to_job(&t, &table, &back, said, &err));
    assert_true(back.sharpness == 3.5 && back.ink == 1 && said[table.count - 1]);
    infotext_free(&t);
    free(text);
    job_field_free(&table, &back);

    /* The flags, their help, and what settings_load must let pass. */
    static struct job_flags flags;
    memset(&flags, 0, sizeof flags);
    job_flags_add_fields(&flags, &table);
    char *help = NULL;
    size_t size;
    FILE *out = open_memstream(&help, &size);
    job_flags_help(&flags, out);
    fclose(out);
    assert_non_null(strstr(help, "--sharpness X"));
    assert_non_null(strstr(help, "--ink black|sepia"));
    assert_non_null(strstr(help, "how sharp its edges are [2]"));
    free(help);
    char *argv[] = {"generate", "--sharpness=4.5", "--ink", "black", NULL};
    int option;
    optind = 0;
    while ((option = getopt_long(4, argv, flags.letters, flags.options, NULL)) != -1)
        assert_true(job_flags_take(&flags, job_flags_find(&flags, option), &job, optarg, &err));
    assert_true(job.sharpness == 4.5 && job.ink == 0);
    size_t own = 0;
    while (flags.own[own] && strcmp(flags.own[own], "--sharpness=") != 0)
        own++;
    assert_non_null(flags.own[own]);

    /* The schema. */
    json = job_field_schema(&table, settings);
    const cJSON *schema = cJSON_GetObjectItem(json, "sharpness");
    char *printed = json_text_print((cJSON *)schema);
    assert_string_equal(printed,
                        "{\"type\":\"number\",\"description\":\"how sharp its edges are\","
                        "\"default\":2,\"minimum\":1,\"maximum\":5,\"x-about\":\"picture\","
                        "\"x-part\":\"all\",\"x-infotext\":\"Sharpness\","
                        "\"x-flag\":\"sharpness\"}");
    free(printed);
    assert_int_equal(
        cJSON_GetArraySize(cJSON_GetObjectItem(cJSON_GetObjectItem(json, "ink"), "enum")), 2);
    cJSON_Delete(json);

    job_field_free(&table, &job);
    settings_free(settings);
}

/* ---- values drawn at random ---- */

static uint64_t random_state = 88172645463325252;

static uint64_t draw(uint64_t below) /* 0: all 64 bits */
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return below ? random_state % below : random_state;
}

/* Words, punctuation that the text quotes or splits at, and letters beyond ASCII; what stands at a
 * line's ends is stripped by WebUI, and so here. */
static char *draw_prompt(void)
{
    static const char *const pieces[] = {
        "cat",        "(red:1.2)", "a, b",  "x: y",
        "\"q\"",      "\\",        "Steps", "\xc3\xa9\xf0\x9f\x90\xb1",
        "<lora:a:1>", "1x2",       "'",     "#"};
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (uint64_t i = 0, n = 1 + draw(6); i < n; i++)
        fprintf(out, "%s%s",
                i == 0    ? ""
                : draw(4) ? " "
                          : "\n",
                pieces[draw(sizeof pieces / sizeof *pieces)]);
    fclose(out);
    return text;
}

/* Not "q" and not 1x2, which the text does not tell from what it quotes and from sizes. */
static char *draw_name(void)
{
    static const char *const names[] = {"pictor-mini", "v1.5, pruned", "a: b", "\xc3\xa9",
                                        "\\ \"q\","};
    return strdup(names[draw(sizeof names / sizeof *names)]);
}

static double draw_real(double least, double most)
{
    switch (draw(4)) {
    case 0:
        return least;
    case 1:
        return most;
    case 2:
        return least + floor((double)draw(101) / 100 * (most - least) * 20) / 20;
    }
    return least + (double)draw(0) * 0x1p-64 * (most - least);
}

static double limit_of(const struct job_field *f, const struct settings *s)
{
    switch (f->limit) {
    case JOB_MAX_STEPS:
        return s->max_steps;
    case JOB_MAX_SIDE:
        return 1024;
    case JOB_MAX_COUNT:
        return s->max_count;
    case JOB_NO_LIMIT:
    case JOB_MAX_PROMPT:
        break;
    }
    return f->most;
}

static void draw_field(const struct job_field *f, struct job_params *p, const struct settings *s)
{
    struct err err;
    double most = limit_of(f, s);
    int words = 0;
    switch (f->type) {
    case JOB_TEXT: {
        int known = 0;
        while (f->known && f->known(known))
            known++;
        bool name = f->form == JOB_FORM_MODEL || strcmp(f->name, "vae") == 0;
        char *text = known  ? strdup(f->known((int)draw((uint64_t)known)))
                     : name ? draw_name()
                            : draw_prompt();
        assert_true(job_field_set_text(f, p, text, &err));
        free(text);
        break;
    }
    case JOB_WHOLE:
        job_field_set_number(f, p, floor(draw_real(f->least, most)));
        if (f->multiple)
            job_field_set_number(f, p, (int)job_field_number(f, p) / f->multiple * f->multiple);
        break;
    case JOB_REAL:
        job_field_set_number(f, p, draw_real(f->least, most));
        break;
    case JOB_SEED:
        *(uint64_t *)((char *)p + f->offset) = draw(0);
        break;
    case JOB_FLAG:
        job_field_set_number(f, p, (double)draw(2));
        break;
    case JOB_WORD:
        while (f->words[words])
            words++;
        job_field_set_number(f, p, (double)draw((uint64_t)words));
        break;
    }
    if (draw(8) == 0 && f->optional && f->about == JOB_REQUEST)
        job_field_clear(f, p);
}

/* A job as the queue may hold one, with every field drawn. */
static void draw_job(struct job_params *p, const struct settings *s)
{
    struct err err;
    const char *param;
    job_params_init(p);
    for (size_t i = 0; i < job_table.count; i++)
        draw_field(&job_table.fields[i], p, s);
    p->count = 1; /* the text is one picture's, and this its only one */
    p->has_mask = p->has_mask && p->has_init;
    if (draw(2) || p->hires_width < 64 || p->hires_height < 64)
        p->hires_width = p->hires_height = 0;
    else if (draw(2)) { /* by a factor */
        p->hires_width = p->width * 2;
        p->hires_height = p->height * 2;
    }
    if (draw(2))
        p->subseed_strength = 0;
    if (p->sigma_min >= p->sigma_max)
        p->sigma_max = 0;
    if (p->rho < 0.1)
        p->rho = 0;
    if (!job_params_check(p, s, &param, &err))
        fail_msg("%s", err.msg);
}

static bool same(const struct job_field *f, const struct job_params *a, const struct job_params *b)
{
    bool empty = job_field_is_empty(f, a);
    if (empty != job_field_is_empty(f, b))
        return false;
    if (empty)
        return true;
    if (f->type == JOB_TEXT)
        return strcmp(job_field_text(f, a), job_field_text(f, b)) == 0;
    if (f->type == JOB_SEED)
        return job_field_seed(f, a) == job_field_seed(f, b);
    return job_field_number(f, a) == job_field_number(f, b);
}

/* What does not change the picture has its usual value, and what can be said in two ways is said in
 * one. */
static void reduce(struct job_params *p)
{
    struct err err;
    const struct pictor_sampler_info *sampler = pictor_sampler_find(p->sampler, NULL);
    for (size_t i = 0; i < job_table.count; i++) {
        const struct job_field *f = &job_table.fields[i];
        const char *text = f->type == JOB_TEXT ? job_field_text(f, p) : NULL;
        if (f->type == JOB_TEXT &&
            (!job_field_applies(f, p) || (f->part == JOB_OF_HIRES && text && !*text)))
            job_field_clear(f, p);
        else if (!job_field_applies(f, p) && f->type != JOB_SEED && f->part != JOB_OF_ALL)
            job_field_set_number(f, p, f->usual);
        else if (!job_field_applies(f, p) && f->type == JOB_SEED)
            *(uint64_t *)((char *)p + f->offset) = 0;
    }
    if (strcmp(p->scheduler, "automatic") == 0 &&
        strcmp(sampler->default_scheduler, "uniform") != 0)
        assert_true(job_field_set_text(job_field_find(&job_table, "scheduler"), p,
                                       sampler->default_scheduler, &err));
    if (!sampler->eta_name || p->eta == sampler->default_eta)
        p->eta = NAN;
}

static void json_is_the_job(void **state)
{
    struct err err;
    struct settings *s = settings_new(&err);
    for (int i = 0; i < 2000; i++) {
        struct job_params a, b;
        draw_job(&a, s);
        cJSON *json = job_params_to_json(&a);
        char *text = json_text_print(json);
        cJSON_Delete(json);
        json = json_text_parse(text, strlen(text), 4, &err);
        assert_true(job_params_from_json(&b, json, &err));
        for (size_t k = 0; k < job_table.count; k++)
            if (!same(&job_table.fields[k], &a, &b))
                fail_msg("%s of %s", job_table.fields[k].name, text);
        assert_int_equal(cJSON_GetArraySize(json), job_table.count);
        free(text);
        cJSON_Delete(json);
        job_params_free(&a);
        job_params_free(&b);
    }
    settings_free(s);
}

/* job JSON -> job -> infotext -> job is the identity over every field that changes what is painted;
 * the others are not in the text. */
static void infotext_is_the_job(void **state)
{
    struct err err;
    struct settings *s = settings_new(&err);
    for (int i = 0; i < 5000; i++) {
        struct job_params drawn, a, b;
        draw_job(&drawn, s);
        /* Of a mask without blur whose other settings are usual, WebUI says nothing at all. */
        if (!drawn.mask_invert && !drawn.mask_only_area && drawn.fill == PICTOR_FILL_ORIGINAL)
            drawn.mask_blur += drawn.mask_blur == 0;
        cJSON *json = job_params_to_json(&drawn);
        assert_true(job_params_from_json(&a, json, &err));
        cJSON_Delete(json);
        struct infotext_picture picture = {a.seed, a.subseed, a.model, NULL, NULL};
        char *text = infotext_write(&a, &picture);
        struct infotext t;
        bool said[JOB_TABLE_MAX];
        assert_true(infotext_read(&t, text));
        assert_true(infotext_to_job(&t, &job_table, &b, said, &err));
        reduce(&a);
        for (size_t k = 0; k < job_table.count; k++) {
            const struct job_field *f = &job_table.fields[k];
            bool in_text = f->infotext || f->form == JOB_FORM_SECOND || f->required ||
                           strcmp(f->name, "negative_prompt") == 0;
            if (in_text && !same(f, &a, &b))
                fail_msg("%s of\n%s", f->name, text);
            if (in_text && job_field_applies(f, &a) && !job_field_is_empty(f, &a))
                assert_true(said[k]);
            /* What is neither in the text nor about the request: only this. */
            if (!in_text && f->about == JOB_PICTURE)
                assert_true(strcmp(f->name, "fit") == 0 || strcmp(f->name, "format") == 0 ||
                            strcmp(f->name, "quality") == 0);
        }
        infotext_free(&t);
        free(text);
        job_params_free(&drawn);
        job_params_free(&a);
        job_params_free(&b);
    }
    settings_free(s);
}

/* ---- the table itself ---- */

static void the_table_is_sound(void **state)
{
    for (size_t i = 0; i < job_table.count; i++) {
        const struct job_field *f = &job_table.fields[i];
        assert_true(f->doc && *f->doc);
        assert_ptr_equal(job_field_find(&job_table, f->name), f);
        if (f->type == JOB_WORD)
            assert_true(f->words && f->usual >= 0);
        if (f->form == JOB_FORM_SECOND)
            assert_true(f[-1].form == JOB_FORM_SIZE || f[-1].form == JOB_FORM_HIRES);
        for (size_t k = 0; k < i; k++) {
            const struct job_field *g = &job_table.fields[k];
            assert_string_not_equal(f->name, g->name);
            if (f->flag && g->flag)
                assert_string_not_equal(f->flag, g->flag);
            if (f->infotext && g->infotext)
                assert_string_not_equal(f->infotext, g->infotext);
            assert_true(!f->letter || f->letter != g->letter);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_is_sound),
        cmocka_unit_test(a_line_more_is_found_everywhere),
        cmocka_unit_test(json_is_the_job),
        cmocka_unit_test(infotext_is_the_job),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
