#include "engine/base/sha256.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/crypto.h>
#include <openssl/evp.h>

#define CHUNK ((size_t)1 << 18)

bool sha256_bytes(const void *bytes, size_t size, unsigned char out[SHA256_SIZE], struct err *err)
{
    if (EVP_Digest(bytes, size, out, NULL, EVP_sha256(), NULL) == 1)
        return true;
    return err_set(err, ERR_INTERNAL, "the SHA-256 of %zu bytes failed", size);
}

bool sha256_file(const char *path, const atomic_bool *stop, unsigned char out[SHA256_SIZE],
                 struct err *err)
{
    EVP_MD_CTX *hash = NULL;
    unsigned char *chunk = NULL;
    bool done = false;
    FILE *f = fopen(path, "rbe");
    if (!f)
        return err_at(err, path, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO, "%s", strerror(errno));
    hash = EVP_MD_CTX_new();
    chunk = malloc(CHUNK);
    if (!hash || !chunk || EVP_DigestInit_ex(hash, EVP_sha256(), NULL) != 1) {
        err_set(err, ERR_INTERNAL, "no memory to hash a file");
        goto fail;
    }
    for (size_t n; (n = fread(chunk, 1, CHUNK, f)) > 0;) {
        if (EVP_DigestUpdate(hash, chunk, n) != 1) {
            err_at(err, path, ERR_INTERNAL, "its SHA-256 failed");
            goto fail;
        }
        if (stop && atomic_load(stop)) {
            err_at(err, path, ERR_CANCELLED, "stopped hashing");
            goto fail;
        }
    }
    if (ferror(f)) {
        err_at(err, path, ERR_IO, "%s", strerror(errno));
        goto fail;
    }
    done = EVP_DigestFinal_ex(hash, out, NULL) == 1 ||
           err_at(err, path, ERR_INTERNAL, "its SHA-256 failed");
fail:
    EVP_MD_CTX_free(hash);
    free(chunk);
    fclose(f);
    return done;
}

void sha256_hex(const unsigned char hash[SHA256_SIZE], char out[SHA256_HEX_SIZE])
{
    for (int i = 0; i < SHA256_SIZE; i++)
        snprintf(out + 2 * i, 3, "%02x", hash[i]);
}

bool sha256_equal(const unsigned char a[SHA256_SIZE], const unsigned char b[SHA256_SIZE])
{
    return CRYPTO_memcmp(a, b, SHA256_SIZE) == 0;
}
