#include "server/cli/cli_picture.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

static uint8_t *read_file(const char *path, size_t *out, struct err *err)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) != 0) {
        err_set(err, ERR_NOT_FOUND, "%.128s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return NULL;
    }
    size_t size = (size_t)st.st_size, got = 0;
    uint8_t *data = S_ISREG(st.st_mode) && size < (1u << 30) ? malloc(size + 1) : NULL;
    bool ok = data || err_set(err, ERR_INVALID, "%.128s is not a picture file", path);
    while (ok && got < size) {
        ssize_t n = read(fd, data + got, size - got);
        if (n <= 0)
            ok = err_set(err, ERR_IO, "%.128s: could not be read", path);
        else
            got += (size_t)n;
    }
    close(fd);
    if (ok) {
        *out = size;
        return data;
    }
    free(data);
    return NULL;
}

bool cli_picture_read(const char *path, size_t max_pixels, struct pictor_image *out,
                      struct err *err)
{
    size_t size;
    uint8_t *data = read_file(path, &size, err);
    if (!data)
        return false;
    bool ok = image_decode(data, size, max_pixels, out, err) || err_prefix(err, "%.128s", path);
    free(data);
    return ok;
}

bool cli_picture_texts(const char *path, struct image_texts *out, struct err *err)
{
    size_t size;
    uint8_t *data = read_file(path, &size, err);
    bool ok = data && image_texts_read(data, size, out, err);
    free(data);
    return ok;
}

bool cli_picture_format(const char *path, const char *what, enum image_format *out,
                        struct err *err)
{
    if (!path)
        return err_set(err, ERR_INVALID,
                       "%s FILE is missing: the .png, .jpg or .webp file to write", what);
    const char *dot = strrchr(path, '.');
    for (int i = 0; dot && image_formats[i]; i++) {
        *out = (enum image_format)i;
        if (strcasecmp(dot + 1, image_formats[i]) == 0 ||
            strcasecmp(dot + 1, image_extension((enum image_format)i)) == 0)
            return true;
    }
    return err_set(err, ERR_INVALID, "%s must name a .png, .jpg or .webp file, got '%.128s'", what,
                   path);
}

bool cli_picture_writable(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    char folder[4096] = ".";
    if (slash)
        snprintf(folder, sizeof folder, "%.*s", (int)(slash - path) + 1, path);
    if (access(folder, W_OK) != 0)
        return err_set(err, ERR_IO, "cannot write %.128s: %s", path, strerror(errno));
    return true;
}

bool cli_picture_write(const char *path, const struct pictor_image *image, enum image_format format,
                       int quality, const struct image_texts *texts, struct err *err)
{
    struct image_file file = {0};
    if (!image_encode(image, format, quality, texts, &file, err))
        return false;
    FILE *out = fopen(path, "wb");
    size_t written = out ? fwrite(file.data, 1, file.size, out) : 0;
    bool ok = true;
    if (!out || (fclose(out) != 0) + (written != file.size))
        ok = err_set(err, ERR_IO, "%.128s: %s", path, strerror(errno));
    image_file_free(&file);
    return ok;
}
