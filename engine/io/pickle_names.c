/* pickle_names.c: the names that a checkpoint may name, and what stands for them here. Those marked
 * inert are found in published checkpoints (a trainer's settings, numbers of NumPy's, sets) and
 * become a value of no use: nothing of what they do in Python is done. */
#include <stdio.h>
#include <string.h>

#include "engine/io/pickle_machine.h"

#define STORAGES_MOST 1000000
#define TENSORS_MOST 1000000
#define STATE_MOST 64 /* items of an object's state that are looked through */

enum what {
    STORAGE_TYPE,
    TENSOR_TYPE, /* a dtype of torch's */
    ORDERED_DICT,
    PARAMETER_DICT,
    REBUILD,       /* (storage, offset, size, stride, ...) */
    REBUILD_TYPED, /* the same, and the dtype in the seventh place */
    FIRST,         /* of its arguments, the first */
    INERT
};

static const struct {
    const char *module, *name;
    enum what what;
    enum dtype dtype;
    uint32_t element; /* bytes of one number; 1 where the storage does not say */
} names[] = {
    {"torch", "FloatStorage", STORAGE_TYPE, DTYPE_F32, 4},
    {"torch", "HalfStorage", STORAGE_TYPE, DTYPE_F16, 2},
    {"torch", "BFloat16Storage", STORAGE_TYPE, DTYPE_BF16, 2},
    {"torch", "DoubleStorage", STORAGE_TYPE, DTYPE_F64, 8},
    {"torch", "LongStorage", STORAGE_TYPE, DTYPE_I64, 8},
    {"torch", "IntStorage", STORAGE_TYPE, DTYPE_OTHER, 4},
    {"torch", "ShortStorage", STORAGE_TYPE, DTYPE_OTHER, 2},
    {"torch", "CharStorage", STORAGE_TYPE, DTYPE_OTHER, 1},
    {"torch", "ByteStorage", STORAGE_TYPE, DTYPE_OTHER, 1},
    {"torch", "BoolStorage", STORAGE_TYPE, DTYPE_OTHER, 1},
    {"torch", "ComplexFloatStorage", STORAGE_TYPE, DTYPE_OTHER, 8},
    {"torch", "ComplexDoubleStorage", STORAGE_TYPE, DTYPE_OTHER, 16},
    {"torch", "UntypedStorage", STORAGE_TYPE, DTYPE_OTHER, 1},
    {"torch.storage", "UntypedStorage", STORAGE_TYPE, DTYPE_OTHER, 1},
    {"torch.storage", "_UntypedStorage", STORAGE_TYPE, DTYPE_OTHER, 1},
    {"torch", "float32", TENSOR_TYPE, DTYPE_F32, 4},
    {"torch", "float16", TENSOR_TYPE, DTYPE_F16, 2},
    {"torch", "bfloat16", TENSOR_TYPE, DTYPE_BF16, 2},
    {"torch", "float64", TENSOR_TYPE, DTYPE_F64, 8},
    {"torch", "int64", TENSOR_TYPE, DTYPE_I64, 8},
    {"torch", "float8_e4m3fn", TENSOR_TYPE, DTYPE_F8_E4M3, 1},
    {"torch", "float8_e5m2", TENSOR_TYPE, DTYPE_F8_E5M2, 1},
    {"torch", "int32", TENSOR_TYPE, DTYPE_OTHER, 4},
    {"torch", "uint32", TENSOR_TYPE, DTYPE_OTHER, 4},
    {"torch", "uint64", TENSOR_TYPE, DTYPE_OTHER, 8},
    {"torch", "int16", TENSOR_TYPE, DTYPE_OTHER, 2},
    {"torch", "uint16", TENSOR_TYPE, DTYPE_OTHER, 2},
    {"torch", "int8", TENSOR_TYPE, DTYPE_OTHER, 1},
    {"torch", "uint8", TENSOR_TYPE, DTYPE_OTHER, 1},
    {"torch", "bool", TENSOR_TYPE, DTYPE_OTHER, 1},
    {"torch._utils", "_rebuild_tensor", REBUILD, DTYPE_OTHER, 0},
    {"torch._utils", "_rebuild_tensor_v2", REBUILD, DTYPE_OTHER, 0},
    {"torch._utils", "_rebuild_tensor_v3", REBUILD_TYPED, DTYPE_OTHER, 0},
    {"torch._utils", "_rebuild_parameter", FIRST, DTYPE_OTHER, 0},
    {"torch._utils", "_rebuild_parameter_with_state", FIRST, DTYPE_OTHER, 0},
    {"torch.nn.parameter", "Parameter", FIRST, DTYPE_OTHER, 0},
    {"torch", "Size", FIRST, DTYPE_OTHER, 0},
    {"torch", "device", INERT, DTYPE_OTHER, 0},
    {"torch.nn.modules.container", "ParameterDict", PARAMETER_DICT, DTYPE_OTHER, 0},
    {"collections", "OrderedDict", ORDERED_DICT, DTYPE_OTHER, 0},
    {"collections", "defaultdict", ORDERED_DICT, DTYPE_OTHER, 0},
    {"__builtin__", "dict", INERT, DTYPE_OTHER, 0},
    {"builtins", "dict", INERT, DTYPE_OTHER, 0},
    {"__builtin__", "set", INERT, DTYPE_OTHER, 0},
    {"builtins", "set", INERT, DTYPE_OTHER, 0},
    {"_codecs", "encode", INERT, DTYPE_OTHER, 0},
    {"numpy", "dtype", INERT, DTYPE_OTHER, 0},
    {"numpy", "ndarray", INERT, DTYPE_OTHER, 0},
    {"numpy.core.multiarray", "scalar", INERT, DTYPE_OTHER, 0},
    {"numpy.core.multiarray", "_reconstruct", INERT, DTYPE_OTHER, 0},
    {"numpy._core.multiarray", "scalar", INERT, DTYPE_OTHER, 0},
    {"numpy._core.multiarray", "_reconstruct", INERT, DTYPE_OTHER, 0},
    {"pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint", INERT, DTYPE_OTHER, 0},
    {"lightning.pytorch.callbacks.model_checkpoint", "ModelCheckpoint", INERT, DTYPE_OTHER, 0},
};

static bool is(const char *text, size_t length, const char *word)
{
    return strlen(word) == length && memcmp(text, word, length) == 0;
}

uint32_t pickle_name(struct pickle *p, const char *module, size_t module_length, const char *name,
                     size_t name_length)
{
    char full[128], shown[128];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!is(module, module_length, names[i].module) || !is(name, name_length, names[i].name))
            continue;
        uint32_t v = pickle_new(p, PICKLE_NAME);
        if (v != PICKLE_NOTHING)
            p->values[v].name = (int)i;
        return v;
    }
    snprintf(full, sizeof full, "%.*s.%.*s", module_length < 80 ? (int)module_length : 80, module,
             name_length < 40 ? (int)name_length : 40, name);
    err_set(p->err, ERR_UNSUPPORTED,
            "the pickle in it names %s, which is code: refused. Tensors, dicts, lists, numbers "
            "and strings are read, and nothing else",
            raw_tensor_show(shown, sizeof shown, full));
    return PICKLE_NOTHING;
}

/* ---- tensors ---- */

static uint32_t broken(struct pickle *p, const char *what)
{
    err_set(p->err, ERR_INVALID, "a broken checkpoint: %s", what);
    return PICKLE_NOTHING;
}

/* The i-th of a list's values; NULL when there is none, or `list` is no list. */
static const struct pickle_value *item(const struct pickle *p, const struct pickle_value *list,
                                       uint32_t i)
{
    return list && list->kind == PICKLE_LIST && i < list->count ? &p->values[list->items[i]] : NULL;
}

static bool size_of(const struct pickle_value *v, uint64_t *out)
{
    if (!v || v->kind != PICKLE_INTEGER || v->integer < 0 || v->integer > (int64_t)1 << 53)
        return false;
    *out = (uint64_t)v->integer;
    return true;
}

/* How many elements a view reaches over, from its first to its last; false: more than there can
 * be. */
static bool reach_of(const struct pickle_tensor *t, uint64_t *out)
{
    uint64_t count = 1, reach = 1;
    for (int i = 0; i < t->ndim; i++) {
        uint64_t step;
        if (__builtin_mul_overflow(count, t->shape[i], &count) ||
            (t->shape[i] &&
             (__builtin_mul_overflow(t->shape[i] - 1, t->strides[i], &step) ||
              __builtin_add_overflow(reach, step, &reach))))
            return false;
    }
    *out = count ? reach : 0;
    return count <= (uint64_t)1 << 53;
}

/* Checks the view against its storage, and counts from the beginning of that. */
static bool place(struct pickle *p, struct pickle_tensor *t, const struct pickle_value *storage)
{
    const struct pickle_storage *s = &p->storages[storage->index];
    uint64_t room = s->count * s->element / t->element, first = 0, reach;
    if (storage->part.size) { /* which is counted in the storage's elements */
        if (t->element != s->element)
            return err_set(p->err, ERR_INVALID,
                           "a tensor of another type than the part of a storage that it views");
        first = storage->part.offset;
        room = first + storage->part.size;
    }
    char shape[64];
    size_t sizes[RAW_TENSOR_DIMS] = {0};
    for (int i = 0; i < t->ndim; i++)
        sizes[i] = (size_t)t->shape[i];
    raw_tensor_shape(shape, sizeof shape, t->ndim, sizes);
    if (!reach_of(t, &reach))
        return err_set(p->err, ERR_INVALID, "a tensor of %s: shape too large", shape);
    if (t->offset > room - first || reach > room - first - t->offset)
        return err_set(p->err, ERR_INVALID,
                       "a tensor of %s reaches element %llu of a storage that has %llu", shape,
                       (unsigned long long)(first + t->offset + reach), (unsigned long long)room);
    t->offset += first;
    return true;
}

static uint32_t rebuild(struct pickle *p, const struct pickle_value *arguments, bool typed)
{
    const struct pickle_value *storage = item(p, arguments, 0), *shape = item(p, arguments, 2),
                              *strides = item(p, arguments, 3), *type = item(p, arguments, 6);
    struct pickle_tensor t = {0};
    if (!storage || storage->kind != PICKLE_STORAGE || !size_of(item(p, arguments, 1), &t.offset) ||
        !shape || shape->kind != PICKLE_LIST || !strides || strides->kind != PICKLE_LIST ||
        shape->count != strides->count)
        return broken(p, "a tensor is not (storage, offset, shape, strides)");
    if (shape->count > RAW_TENSOR_DIMS)
        return broken(p, "a tensor of more than 8 dimensions");
    const struct pickle_storage *s = &p->storages[storage->index];
    t.storage = storage->index;
    t.dtype = s->dtype;
    t.element = s->element;
    if (typed) {
        if (!type || type->kind != PICKLE_NAME || names[type->name].what != TENSOR_TYPE)
            return broken(p, "a tensor whose type is not known");
        t.dtype = names[type->name].dtype;
        t.element = names[type->name].element;
    }
    t.ndim = (int)shape->count;
    for (uint32_t i = 0; i < shape->count; i++)
        if (!size_of(item(p, shape, i), &t.shape[i]) ||
            !size_of(item(p, strides, i), &t.strides[i]))
            return broken(p, "a tensor with a size or stride that is no whole number from 0 on");
    struct pickle_tensor *tensors =
        place(p, &t, storage) ? pickle_grow(p, p->tensors, sizeof *tensors, p->tensor_count,
                                            &p->tensor_room, TENSORS_MOST, "tensors")
                              : NULL;
    if (!tensors)
        return PICKLE_NOTHING;
    p->tensors = tensors;
    uint32_t v = pickle_new(p, PICKLE_TENSOR);
    if (v == PICKLE_NOTHING)
        return v;
    p->values[v].index = (uint32_t)p->tensor_count;
    p->tensors[p->tensor_count++] = t;
    return v;
}

/* ("storage", type, key, device, elements), and in old files (key, offset, elements) of what part
 * of it is meant, or None. */
uint32_t pickle_persistent(struct pickle *p, uint32_t id)
{
    const struct pickle_value *v = &p->values[id], *word = item(p, v, 0), *type = item(p, v, 1),
                              *key = item(p, v, 2), *part = item(p, v, 5);
    struct pickle_storage s = {0};
    uint64_t offset = 0, size = 0;
    if (!word || word->kind != PICKLE_STRING || strcmp(word->string, "storage") != 0 || !type ||
        type->kind != PICKLE_NAME || names[type->name].what != STORAGE_TYPE || !key ||
        key->kind != PICKLE_STRING || !size_of(item(p, v, 4), &s.count))
        return broken(p, "a storage is not (\"storage\", type, key, device, elements)");
    s.key = key->string;
    s.dtype = names[type->name].dtype;
    s.element = names[type->name].element;
    if (part && part->kind == PICKLE_LIST &&
        (!size_of(item(p, part, 1), &offset) || !size_of(item(p, part, 2), &size) ||
         offset > UINT32_MAX || size > UINT32_MAX || offset > s.count || size > s.count - offset))
        return broken(p, "a part of a storage that is not in it");
    struct pickle_storage *storages =
        pickle_grow(p, p->storages, sizeof *storages, p->storage_count, &p->storage_room,
                    STORAGES_MOST, "storages");
    if (!storages)
        return PICKLE_NOTHING;
    p->storages = storages;
    uint32_t made = pickle_new(p, PICKLE_STORAGE);
    if (made == PICKLE_NOTHING)
        return made;
    p->values[made].index = (uint32_t)p->storage_count;
    p->values[made].part.offset = (uint32_t)offset;
    p->values[made].part.size = (uint32_t)size;
    p->storages[p->storage_count++] = s;
    return made;
}

/* ---- calls ---- */

/* A dict of [(key, value), ...], as older versions of Python write an ordered one. */
static uint32_t new_dict(struct pickle *p, uint32_t pairs)
{
    uint32_t dict = pickle_new(p, PICKLE_DICT);
    if (dict == PICKLE_NOTHING || pairs == PICKLE_NOTHING || p->values[pairs].kind != PICKLE_LIST)
        return dict;
    for (uint32_t i = 0; i < p->values[pairs].count; i++) {
        const struct pickle_value *pair = item(p, &p->values[pairs], i);
        if (pair->kind != PICKLE_LIST || pair->count != 2)
            return broken(p, "a dict is not made of pairs");
        uint32_t key = pair->items[0], value = pair->items[1];
        if (!pickle_add(p, dict, key) || !pickle_add(p, dict, value))
            return PICKLE_NOTHING;
    }
    return dict;
}

uint32_t pickle_call(struct pickle *p, uint32_t callable, uint32_t arguments)
{
    const struct pickle_value *f = &p->values[callable], *a = &p->values[arguments];
    if (f->kind == PICKLE_OTHER)
        return pickle_new(p, PICKLE_OTHER);
    if (f->kind != PICKLE_NAME || a->kind != PICKLE_LIST)
        return broken(p, "the pickle in it calls what is no function");
    switch (names[f->name].what) {
    case ORDERED_DICT:
        return new_dict(p, a->count ? a->items[0] : PICKLE_NOTHING);
    case PARAMETER_DICT:
        return new_dict(p, PICKLE_NOTHING);
    case REBUILD:
        return rebuild(p, a, false);
    case REBUILD_TYPED:
        return rebuild(p, a, true);
    case FIRST:
        return a->count ? a->items[0] : pickle_new(p, PICKLE_OTHER);
    case STORAGE_TYPE:
    case TENSOR_TYPE:
    case INERT:
        break;
    }
    return pickle_new(p, PICKLE_OTHER);
}

/* A ParameterDict keeps its tensors in its state; what others have there is of no use. */
bool pickle_set_state(struct pickle *p, uint32_t object, uint32_t state)
{
    const struct pickle_value *s = &p->values[state], *inner;
    if (s->kind != PICKLE_DICT || s->count > STATE_MOST)
        return true;
    inner = pickle_get(p, s, "_parameters");
    if (p->values[object].kind != PICKLE_DICT || !inner || inner->kind != PICKLE_DICT)
        return true;
    uint32_t from = (uint32_t)(inner - p->values), count = inner->count;
    for (uint32_t i = 0; i < count && from != object; i++)
        if (!pickle_add(p, object, p->values[from].items[i]))
            return false;
    return true;
}
