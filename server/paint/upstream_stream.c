#include "server/paint/upstream_stream.h"

#include <cjson/cJSON.h>
#include <string.h>

#include "server/base/json_text.h"

#define DEPTH 16

static const cJSON *member(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

/* Where the empty line behind the event at s->at ends; 0: it has not come. */
static size_t end_of(struct upstream_stream *s, const char *body, size_t size)
{
    size_t from = s->seen > s->at ? s->seen : s->at;
    for (const char *p = body + from; (p = memchr(p, '\n', size - (size_t)(p - body))); p++) {
        size_t next = (size_t)(p - body) + 1;
        next += next < size && body[next] == '\r';
        if (next < size && body[next] == '\n')
            return next + 1;
    }
    s->seen = size > 2 ? size - 2 : 0;
    return 0;
}

/* The rest of the line that begins with "data:". */
static const char *data_of(const char *event, size_t size, size_t *length)
{
    const char *end = event + size;
    for (const char *line = event; line < end;) {
        const char *stop = memchr(line, '\n', (size_t)(end - line));
        if (!stop)
            stop = end;
        if (stop - line > 5 && memcmp(line, "data:", 5) == 0) {
            *length = (size_t)(stop - line) - 5;
            return line + 5;
        }
        line = stop + 1;
    }
    return NULL;
}

static cJSON *parse(const char *event, size_t size)
{
    size_t length;
    const char *data = data_of(event, size, &length);
    return data ? json_text_parse(data, length, DEPTH, NULL) : NULL;
}

struct cJSON *upstream_stream_next(struct upstream_stream *s, const char *body, size_t size)
{
    size_t end;
    while ((end = end_of(s, body, size)) > 0) {
        cJSON *json = parse(body + s->at, end - s->at);
        s->at = s->seen = end;
        if (json)
            return json;
    }
    return NULL;
}

static bool ends_in(const cJSON *event, const char *ending)
{
    const char *type = cJSON_GetStringValue(member(event, "type"));
    size_t n = type ? strlen(type) : 0, k = strlen(ending);
    return n >= k && strcmp(type + n - k, ending) == 0;
}

const char *upstream_stream_partial(const struct cJSON *event, int *index)
{
    const cJSON *number = member(event, "partial_image_index");
    *index = cJSON_IsNumber(number) ? number->valueint : 0;
    return ends_in(event, ".partial_image") ? cJSON_GetStringValue(member(event, "b64_json"))
                                            : NULL;
}

/* Moves a member of the event. */
static void take(cJSON *event, const char *name, cJSON *to)
{
    cJSON *item = cJSON_DetachItemFromObjectCaseSensitive(event, name);
    cJSON_DeleteItemFromObjectCaseSensitive(to, name);
    if (item)
        cJSON_AddItemToObject(to, name, item);
}

struct cJSON *upstream_stream_answer(const char *body, size_t size)
{
    struct upstream_stream s = {0};
    cJSON *answer = cJSON_CreateObject(), *event;
    cJSON *data = cJSON_AddArrayToObject(answer, "data");
    while (answer && data) {
        event = upstream_stream_next(&s, body, size);
        if (!event) { /* the last one may lack its empty line */
            event = s.at < size ? parse(body + s.at, size - s.at) : NULL;
            s.at = s.seen = size;
            if (!event)
                break;
        }
        if (ends_in(event, ".completed")) {
            cJSON *item = cJSON_CreateObject();
            take(event, "b64_json", item);
            take(event, "url", item);
            take(event, "revised_prompt", item);
            cJSON_AddItemToArray(data, item);
            take(event, "usage", answer);
        } else if (member(event, "error")) {
            take(event, "error", answer);
        }
        cJSON_Delete(event);
    }
    return answer;
}
