/* sha256.h: SHA-256 of bytes and files, by OpenSSL. */
#ifndef PICTOR_ENGINE_BASE_SHA256_H
#define PICTOR_ENGINE_BASE_SHA256_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "engine/base/err.h"

#define SHA256_SIZE 32
#define SHA256_HEX_SIZE 65

bool sha256_bytes(const void *bytes, size_t size, unsigned char out[SHA256_SIZE], struct err *err);
/* Reads the file in pieces; ERR_NOT_FOUND when it is missing, ERR_CANCELLED once *stop (may be
 * NULL) is true, else ERR_IO. */
bool sha256_file(const char *path, const atomic_bool *stop, unsigned char out[SHA256_SIZE],
                 struct err *err);
void sha256_hex(const unsigned char hash[SHA256_SIZE], char out[SHA256_HEX_SIZE]);

/* Whether two hashes are equal, in a time that does not tell where they differ. */
bool sha256_equal(const unsigned char a[SHA256_SIZE], const unsigned char b[SHA256_SIZE]);

#endif
