/* names_swap.h: names by patterns and beginnings that stand for others: what translating tensor
 * names is made of. No state. */
#ifndef PICTOR_ENGINE_IO_NAMES_SWAP_H
#define PICTOR_ENGINE_IO_NAMES_SWAP_H

#include <stdbool.h>
#include <stddef.h>

/* A list of beginnings ends with {NULL, NULL}. */
struct names_swap {
    const char *from, *to;
};

extern const struct names_swap names_swap_none[];

/* Whether `name` is `pattern`, in which # stands for a number of at most three digits, and which
 * ends where `rest` begins. */
bool names_swap_match(const char *name, const char *pattern, int *numbers, const char **rest);

/* out = the formatted text, then `rest` with its beginning swapped. */
bool names_swap_emit(char *out, size_t size, const struct names_swap *swaps, const char *rest,
                     const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* out = `start`, then `rest` with its beginning swapped back, by the swap number *nth of those that
 * made it so; false: they are less, and *nth is less by them. */
bool names_swap_back(char *out, size_t size, const struct names_swap *swaps, const char *rest,
                     const char *start, int *nth);

#endif
