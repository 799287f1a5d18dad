/* bucket_parts.c: a large object in parts, so that a broken connection costs a part. It is there
 * when the last call says so; what was not finished is ended, or found by fsck. */
#include "server/store/bucket_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_BYTES (64 << 10)

static bool begin(struct bucket *b, const char *name, const char *type, const char *hash,
                  char id[3100], struct err *err)
{
    char plain[1024];
    struct bucket_call call = {.method = "POST",
                               .name = name,
                               .query = "uploads=",
                               .type = type,
                               .hash = hash,
                               .data = "",
                               .most = ANSWER_BYTES};
    bool done = bucket_call(b, &call, err);
    const char *at = call.body;
    if (done && (!bucket_xml(&at, "UploadId", plain, sizeof plain) ||
                 !bucket_encode(id, 3100, plain, false)))
        done = err_set(err, ERR_UNAVAILABLE, "the bucket began an upload without naming it");
    free(call.body);
    return done;
}

static bool put_part(struct bucket *b, const char *name, const char *id, int number,
                     const void *data, size_t size, char etag[128], struct err *err)
{
    char query[3200];
    snprintf(query, sizeof query, "partNumber=%d&uploadId=%s", number, id);
    struct bucket_call call = {.method = "PUT",
                               .name = name,
                               .query = query,
                               .data = data,
                               .size = size,
                               .most = ANSWER_BYTES};
    bool done = bucket_call(b, &call, err);
    if (done && !*call.etag)
        done = err_set(err, ERR_UNAVAILABLE, "the bucket took a part without a mark (ETag)");
    memcpy(etag, call.etag, sizeof call.etag);
    free(call.body);
    return done;
}

/* The answer may be 200 and yet say that it failed; and an upload may be gone because an earlier
 * try, whose answer was lost, has put it together. */
static bool complete(struct bucket *b, const char *name, const char *id, const char *list,
                     size_t size, struct err *err)
{
    char query[3200], said[64];
    size_t there;
    struct err own = {0};
    snprintf(query, sizeof query, "uploadId=%s", id);
    struct bucket_call call = {.method = "POST",
                               .name = name,
                               .query = query,
                               .type = "application/xml",
                               .data = list,
                               .size = strlen(list),
                               .most = ANSWER_BYTES};
    bool done = bucket_call(b, &call, &own);
    const char *at = call.body;
    if (!done && own.code == ERR_NOT_FOUND)
        done = bucket_size(b, name, &there, NULL) && there == size;
    else if (done && strstr(call.body, "<Error>"))
        done = err_set(err, ERR_UNAVAILABLE, "the bucket could not put the parts together: %s",
                       bucket_xml(&at, "Code", said, sizeof said) ? said : "no reason given");
    else if (!done)
        err_copy(err, &own);
    if (!done && own.code == ERR_NOT_FOUND)
        err_set(err, ERR_UNAVAILABLE, "the bucket does not know an upload any more");
    free(call.body);
    return done;
}

static void give_up(struct bucket *b, const char *name, const char *id)
{
    char query[3200];
    snprintf(query, sizeof query, "uploadId=%s", id);
    struct bucket_call call = {
        .method = "DELETE", .name = name, .query = query, .most = ANSWER_BYTES, .once = true};
    bucket_call(b, &call, NULL);
    free(call.body);
}

bool bucket_put_parts(struct bucket *b, const char *name, const char *type, const char *hash,
                      const void *data, size_t size, struct err *err)
{
    char id[3100], etag[128], *list = NULL;
    size_t written = 0, at = 0;
    if (!begin(b, name, type, hash, id, err))
        return false;
    FILE *out = open_memstream(&list, &written);
    bool done = out || err_set(err, ERR_UNAVAILABLE, "no memory for a list of parts");
    if (out)
        fputs("<CompleteMultipartUpload>", out);
    for (int number = 1; done && at < size; number++) {
        size_t n = size - at < BUCKET_PART ? size - at : BUCKET_PART;
        done = put_part(b, name, id, number, (const char *)data + at, n, etag, err);
        if (done)
            fprintf(out, "<Part><PartNumber>%d</PartNumber><ETag>%s</ETag></Part>", number, etag);
        at += n;
    }
    if (out)
        fputs("</CompleteMultipartUpload>", out);
    if (out && (fclose(out) != 0 || !list) && done)
        done = err_set(err, ERR_UNAVAILABLE, "no memory for a list of parts");
    done = done && complete(b, name, id, list, size, err);
    free(list);
    if (!done)
        give_up(b, name, id);
    return done;
}
