/* pickle_machine.h: what pickle.c (the instructions) and pickle_names.c (what names stand for) have
 * in common; nobody else includes it. */
#ifndef PICTOR_ENGINE_IO_PICKLE_MACHINE_H
#define PICTOR_ENGINE_IO_PICKLE_MACHINE_H

#include "engine/io/pickle.h"

/* No value: what a function returns when it fails. */
#define PICKLE_NOTHING UINT32_MAX

struct pickle_text; /* a block of strings */

struct pickle {
    const unsigned char *at, *end;
    bool more; /* the bytes ended too early */
    struct pickle_value *values;
    size_t value_count, value_room;
    uint32_t *stack, *marks, *memo; /* marks: heights of the stack */
    size_t height, stack_room, mark_count, mark_room, memo_room;
    uint64_t memo_next; /* the number that MEMOIZE gives */
    size_t items; /* in all lists and dicts */
    struct pickle_storage *storages;
    size_t storage_count, storage_room;
    struct pickle_tensor *tensors;
    size_t tensor_count, tensor_room;
    struct pickle_text *texts;
    uint32_t root;
    struct err *err;
};

/* A list of `count` elements of `size` bytes with room for one more, at most `most`; it may have
 * moved. NULL: an error, and the list is as it was. */
void *pickle_grow(struct pickle *p, void *list, size_t size, size_t count, size_t *room,
                  size_t most, const char *what);

uint32_t pickle_new(struct pickle *p, enum pickle_kind kind);

/* Adds to a list, or to a dict whose caller adds key and value. */
bool pickle_add(struct pickle *p, uint32_t list, uint32_t item);

/* The value for the name; an error that says it when it is not one of the list. */
uint32_t pickle_name(struct pickle *p, const char *module, size_t module_length, const char *name,
                     size_t name_length);

/* callable(*arguments), of those callables that pickle_name knows. */
uint32_t pickle_call(struct pickle *p, uint32_t callable, uint32_t arguments);

/* What an object remembers of itself. */
bool pickle_set_state(struct pickle *p, uint32_t object, uint32_t state);

/* The storage that a persistent id describes. */
uint32_t pickle_persistent(struct pickle *p, uint32_t id);

#endif
