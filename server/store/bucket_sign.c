/* bucket_sign.c: addresses that carry their own signature (AWS Signature Version 4 in the query:
 * docs.aws.amazon.com/AmazonS3/latest/API/sigv4-query-string-auth.html), which libcurl cannot make
 * without a request. */
#include "server/store/bucket_private.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void to_hex(char *out, const unsigned char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        sprintf(out + 2 * i, "%02x", bytes[i]);
}

void bucket_hash(char hex[BUCKET_HASH_SIZE], const void *data, size_t size)
{
    unsigned char hash[32];
    EVP_Digest(data ? data : "", data ? size : 0, hash, NULL, EVP_sha256(), NULL);
    to_hex(hex, hash, sizeof hash);
}

bool bucket_encode(char *out, size_t room, const char *text, bool path)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') ||
                     (*p >= '0' && *p <= '9') || strchr("-._~", *p) || (path && *p == '/');
        if (n + 4 > room)
            return false;
        n += (size_t)sprintf(out + n, plain ? "%c" : "%%%02X", *p);
    }
    if (n >= room)
        return false;
    out[n] = '\0';
    return true;
}

static void hmac(unsigned char out[32], const void *key, size_t size, const char *text)
{
    HMAC(EVP_sha256(), key, (int)size, (const unsigned char *)text, strlen(text), out, NULL);
}

static void sign(char hex[BUCKET_HASH_SIZE], const struct bucket *b, const char *day,
                 const char *text)
{
    char first[300];
    unsigned char key[32];
    snprintf(first, sizeof first, "AWS4%s", b->secret);
    hmac(key, first, strlen(first), day);
    hmac(key, key, sizeof key, b->place.region);
    hmac(key, key, sizeof key, "s3");
    hmac(key, key, sizeof key, "aws4_request");
    hmac(key, key, sizeof key, text);
    to_hex(hex, key, sizeof key);
    OPENSSL_cleanse(first, sizeof first);
    OPENSSL_cleanse(key, sizeof key);
}

/* The parameters, sorted by name as the signature wants them. */
static bool query_of(char *out, size_t room, const struct bucket *b, const char *scope,
                     const char *when, int seconds, const char *file_name)
{
    char credential[300], who[600], token[2048] = "", saved[200] = "", text[100];
    snprintf(credential, sizeof credential, "%s/%s", b->key, scope);
    if (file_name)
        snprintf(text, sizeof text, "attachment; filename=\"%.60s\"", file_name);
    if (!bucket_encode(who, sizeof who, credential, false) ||
        (b->token && !bucket_encode(token, sizeof token, b->token, false)) ||
        (file_name && !bucket_encode(saved, sizeof saved, text, false)))
        return false;
    int n = snprintf(out, room,
                     "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=%s&X-Amz-Date=%s"
                     "&X-Amz-Expires=%d%s%s&X-Amz-SignedHeaders=host%s%s",
                     who, when, seconds, b->token ? "&X-Amz-Security-Token=" : "", token,
                     file_name ? "&response-content-disposition=" : "", saved);
    return n > 0 && (size_t)n < room;
}

char *bucket_link(struct bucket *b, const char *name, const char *file_name, int seconds,
                  time_t now)
{
    char when[20], day[10], scope[100], query[3400], path[1200], hash[BUCKET_HASH_SIZE],
        signature[BUCKET_HASH_SIZE], *url = NULL, *text = NULL;
    struct tm t;
    const char *base = b->place.outside, *host = strstr(base, "://") + 3;
    const char *folder = strchr(host, '/'); /* style path: "/BUCKET" */
    int length = folder ? (int)(folder - host) : (int)strlen(host);
    gmtime_r(&now, &t);
    strftime(when, sizeof when, "%Y%m%dT%H%M%SZ", &t);
    strftime(day, sizeof day, "%Y%m%d", &t);
    snprintf(scope, sizeof scope, "%s/%.40s/s3/aws4_request", day, b->place.region);
    if (!bucket_encode(path, sizeof path, name, true) ||
        !query_of(query, sizeof query, b, scope, when, seconds, file_name) ||
        asprintf(&text, "GET\n%s/%s%s\n%s\nhost:%.*s\n\nhost\nUNSIGNED-PAYLOAD",
                 folder ? folder : "", b->place.prefix, path, query, length, host) < 0)
        return NULL;
    bucket_hash(hash, text, strlen(text));
    free(text);
    if (asprintf(&text, "AWS4-HMAC-SHA256\n%s\n%s\n%s", when, scope, hash) < 0)
        return NULL;
    sign(signature, b, day, text);
    free(text);
    if (asprintf(&url, "%s/%s%s?%s&X-Amz-Signature=%s", base, b->place.prefix, path, query,
                 signature) < 0)
        return NULL;
    return url;
}
