/* pickle.c: the instructions of Python's pickle module, protocols 2 to 5 (pickletools.py of CPython
 * describes each). The machine has a stack of values, marks on it, and a memo of values by number.
 * Every instruction makes at most one value and moves what is there, and all that grows has a
 * limit, so a pickle takes time and memory in proportion to its length. Nothing recurses. */
#include "engine/io/pickle.h"

#include <stdlib.h>
#include <string.h>

#include "engine/io/pickle_machine.h"

/* A checkpoint of 2,000 tensors makes 50,000 values. */
#define VALUES_MOST 2000000
#define ITEMS_MOST 8000000
#define STACK_MOST 1000000
#define MARKS_MOST 10000
#define TEXT_BLOCK 65536

struct pickle_text {
    struct pickle_text *next;
    size_t used, room;
    char bytes[];
};

/* ---- memory ---- */

void *pickle_grow(struct pickle *p, void *list, size_t size, size_t count, size_t *room,
                  size_t most, const char *what)
{
    if (count < *room)
        return list;
    if (count >= most) {
        err_set(p->err, ERR_TOO_LARGE, "a pickle with more than %zu %s", most, what);
        return NULL;
    }
    size_t more = *room ? 2 * *room : 16;
    void *moved = realloc(list, more * size);
    if (moved)
        *room = more;
    else
        err_set(p->err, ERR_INTERNAL, "no memory for a pickle");
    return moved;
}

uint32_t pickle_new(struct pickle *p, enum pickle_kind kind)
{
    struct pickle_value *values = pickle_grow(p, p->values, sizeof *values, p->value_count,
                                              &p->value_room, VALUES_MOST, "values");
    if (!values)
        return PICKLE_NOTHING;
    p->values = values;
    values[p->value_count] = (struct pickle_value){.kind = kind};
    return (uint32_t)p->value_count++;
}

bool pickle_add(struct pickle *p, uint32_t list, uint32_t item)
{
    struct pickle_value *v = &p->values[list];
    size_t room = v->room;
    if (++p->items > ITEMS_MOST)
        return err_set(p->err, ERR_TOO_LARGE, "a pickle with more than %d items", ITEMS_MOST);
    uint32_t *items =
        pickle_grow(p, v->items, sizeof *items, v->count, &room, ITEMS_MOST, "items");
    if (!items)
        return false;
    v->items = items;
    v->room = (uint32_t)room;
    items[v->count++] = item;
    return true;
}

/* A copy that ends with NUL. */
static uint32_t new_string(struct pickle *p, const unsigned char *bytes, size_t length)
{
    struct pickle_text *t = p->texts;
    uint32_t v = pickle_new(p, PICKLE_STRING);
    if (v == PICKLE_NOTHING)
        return v;
    if (!t || t->room - t->used <= length) {
        size_t room = length < TEXT_BLOCK ? TEXT_BLOCK : length + 1;
        if (!(t = malloc(sizeof *t + room))) {
            err_set(p->err, ERR_INTERNAL, "no memory for a pickle's strings");
            return PICKLE_NOTHING;
        }
        *t = (struct pickle_text){.next = p->texts, .room = room};
        p->texts = t;
    }
    char *copy = t->bytes + t->used;
    memcpy(copy, bytes, length);
    copy[length] = '\0';
    t->used += length + 1;
    p->values[v].string = copy;
    p->values[v].count = (uint32_t)length;
    return v;
}

/* ---- the bytes ---- */

/* The next `n` bytes; NULL when there are not as many. */
static const unsigned char *take(struct pickle *p, size_t n)
{
    const unsigned char *at = p->at;
    if ((size_t)(p->end - p->at) < n) {
        p->more = true;
        err_set(p->err, ERR_INVALID, "a pickle that is cut short");
        return NULL;
    }
    p->at += n;
    return at;
}

static uint64_t number(const unsigned char *bytes, int n)
{
    uint64_t x = 0;
    while (n-- > 0)
        x = x << 8 | bytes[n];
    return x;
}

/* A line without its end; NULL when it does not end. */
static const unsigned char *take_line(struct pickle *p, size_t *length)
{
    const unsigned char *at = p->at;
    const unsigned char *end = memchr(at, '\n', (size_t)(p->end - at));
    if (!end) {
        take(p, (size_t)(p->end - at) + 1);
        return NULL;
    }
    *length = (size_t)(end - at);
    p->at = end + 1;
    return at;
}

/* ---- the stack ---- */

static bool push(struct pickle *p, uint32_t value)
{
    uint32_t *stack = value == PICKLE_NOTHING
                          ? NULL
                          : pickle_grow(p, p->stack, sizeof *stack, p->height, &p->stack_room,
                                        STACK_MOST, "values at once");
    if (!stack)
        return false;
    p->stack = stack;
    stack[p->height++] = value;
    return true;
}

static size_t floor_of(const struct pickle *p)
{
    return p->mark_count ? p->marks[p->mark_count - 1] : 0;
}

static bool underflow(struct pickle *p)
{
    return err_set(p->err, ERR_INVALID, "a broken pickle: it takes a value that it has not made");
}

/* PICKLE_NOTHING when nothing lies above the last mark. */
static uint32_t pop(struct pickle *p)
{
    if (p->height > floor_of(p))
        return p->stack[--p->height];
    underflow(p);
    return PICKLE_NOTHING;
}

static uint32_t top(struct pickle *p)
{
    if (p->height > floor_of(p))
        return p->stack[p->height - 1];
    underflow(p);
    return PICKLE_NOTHING;
}

static bool mark(struct pickle *p)
{
    uint32_t *marks =
        pickle_grow(p, p->marks, sizeof *marks, p->mark_count, &p->mark_room, MARKS_MOST, "marks");
    if (!marks)
        return false;
    p->marks = marks;
    marks[p->mark_count++] = (uint32_t)p->height;
    return true;
}

/* Where the values above the last mark begin, which is taken away; they stay in place above the
 * stack until the next push. */
static bool pop_mark(struct pickle *p, size_t *first, size_t *count)
{
    if (!p->mark_count)
        return err_set(p->err, ERR_INVALID, "a broken pickle: it goes back to no mark");
    *first = p->marks[--p->mark_count];
    *count = p->height - *first;
    p->height = *first;
    return true;
}

static bool remember(struct pickle *p, uint64_t index)
{
    uint32_t value = top(p);
    if (value == PICKLE_NOTHING)
        return false;
    if (index >= VALUES_MOST)
        return err_set(p->err, ERR_TOO_LARGE, "a pickle that remembers a value %llu",
                       (unsigned long long)index);
    while (index >= p->memo_room) {
        size_t room = p->memo_room;
        uint32_t *memo = pickle_grow(p, p->memo, sizeof *memo, room, &p->memo_room, VALUES_MOST,
                                     "values to remember");
        if (!memo)
            return false;
        p->memo = memo;
        for (size_t i = room; i < p->memo_room; i++)
            memo[i] = PICKLE_NOTHING;
    }
    p->memo[index] = value;
    return true;
}

static bool recall(struct pickle *p, uint64_t index)
{
    if (index >= p->memo_room || p->memo[index] == PICKLE_NOTHING)
        return err_set(p->err, ERR_INVALID, "a broken pickle: it remembers no value %llu",
                       (unsigned long long)index);
    return push(p, p->memo[index]);
}

/* ---- values ---- */

static bool push_integer(struct pickle *p, int64_t integer)
{
    uint32_t v = pickle_new(p, PICKLE_INTEGER);
    if (v != PICKLE_NOTHING)
        p->values[v].integer = integer;
    return push(p, v);
}

/* Two's complement, least byte first. */
static bool push_long(struct pickle *p, size_t n)
{
    const unsigned char *b = take(p, n);
    if (!b)
        return false;
    bool minus = n && b[n - 1] & 0x80;
    uint64_t x = minus ? UINT64_MAX : 0;
    bool fits = n <= 8;
    for (size_t i = n; i-- > 0;)
        x = x << 8 | b[i];
    return push_integer(p, fits ? (int64_t)x : minus ? INT64_MIN : INT64_MAX);
}

static bool push_float(struct pickle *p)
{
    const unsigned char *b = take(p, 8);
    uint32_t v = b ? pickle_new(p, PICKLE_FLOAT) : PICKLE_NOTHING;
    uint64_t bits = 0;
    for (int i = 0; b && i < 8; i++)
        bits = bits << 8 | b[i];
    if (v != PICKLE_NOTHING)
        memcpy(&p->values[v].number, &bits, sizeof bits);
    return push(p, v);
}

/* A string whose length is in the next `bytes` bytes. */
static bool push_string(struct pickle *p, int bytes)
{
    const unsigned char *b = take(p, (size_t)bytes);
    uint64_t length = b ? number(b, bytes) : 0;
    if (b && length > UINT32_MAX)
        return err_set(p->err, ERR_TOO_LARGE, "a pickle with a string of %llu bytes",
                       (unsigned long long)length);
    const unsigned char *text = b ? take(p, (size_t)length) : NULL;
    return text && push(p, new_string(p, text, (size_t)length));
}

/* Adds `count` values that lie from `first` on, above the stack, to a list or dict. */
static bool fill(struct pickle *p, uint32_t target, size_t first, size_t count)
{
    if (target == PICKLE_NOTHING)
        return false;
    enum pickle_kind kind = p->values[target].kind;
    if (kind == PICKLE_OTHER)
        return true; /* what is of no use stays so */
    if ((kind != PICKLE_LIST && kind != PICKLE_DICT) || (kind == PICKLE_DICT && count % 2))
        return err_set(p->err, ERR_INVALID, "a broken pickle: it adds to what is no list or dict");
    for (size_t i = 0; i < count; i++)
        if (!pickle_add(p, target, p->stack[first + i]))
            return false;
    return true;
}

/* The list or dict of what lies above the last mark, or of the last `count` values. */
static bool push_filled(struct pickle *p, enum pickle_kind kind, int count)
{
    size_t first = 0, n = (size_t)count;
    if (count < 0 && !pop_mark(p, &first, &n))
        return false;
    if (count >= 0) {
        if (p->height < floor_of(p) + n)
            return underflow(p);
        first = p->height -= n;
    }
    uint32_t v = pickle_new(p, kind);
    return v != PICKLE_NOTHING && fill(p, v, first, n) && push(p, v);
}

/* The same for what lies below them. */
static bool fill_below(struct pickle *p, enum pickle_kind kind, int count)
{
    size_t first = 0, n = (size_t)count;
    if (count < 0 && !pop_mark(p, &first, &n))
        return false;
    if (count >= 0) {
        if (p->height < floor_of(p) + n)
            return underflow(p);
        first = p->height -= n;
    }
    uint32_t target = top(p);
    if (target != PICKLE_NOTHING && p->values[target].kind != kind &&
        p->values[target].kind != PICKLE_OTHER)
        return err_set(p->err, ERR_INVALID, "a broken pickle: it adds to what is no list or dict");
    return fill(p, target, first, n);
}

static bool push_global(struct pickle *p)
{
    size_t module_length, name_length;
    const unsigned char *module = take_line(p, &module_length);
    const unsigned char *name = module ? take_line(p, &name_length) : NULL;
    return name && push(p, pickle_name(p, (const char *)module, module_length, (const char *)name,
                                       name_length));
}

static bool push_stack_global(struct pickle *p)
{
    uint32_t name = pop(p), module = name == PICKLE_NOTHING ? name : pop(p);
    if (module == PICKLE_NOTHING)
        return false;
    const struct pickle_value *m = &p->values[module], *n = &p->values[name];
    if (m->kind != PICKLE_STRING || n->kind != PICKLE_STRING)
        return err_set(p->err, ERR_INVALID, "a broken pickle: a name that is no string");
    return push(p, pickle_name(p, m->string, m->count, n->string, n->count));
}

static bool call(struct pickle *p, bool keywords)
{
    if (keywords && pop(p) == PICKLE_NOTHING)
        return false;
    uint32_t arguments = pop(p), callable = arguments == PICKLE_NOTHING ? arguments : pop(p);
    return callable != PICKLE_NOTHING && push(p, pickle_call(p, callable, arguments));
}

static bool build(struct pickle *p)
{
    uint32_t state = pop(p), object = state == PICKLE_NOTHING ? state : top(p);
    return object != PICKLE_NOTHING && pickle_set_state(p, object, state);
}

/* ---- instructions ---- */

static bool refuse(struct pickle *p, unsigned char code)
{
    static const struct {
        unsigned char code;
        const char *name;
    } known[] = {
        {'P', "PERSID"},     {'i', "INST"},       {'o', "OBJ"},
        {0x82, "EXT1"},      {0x83, "EXT2"},      {0x84, "EXT4"},
        {'I', "INT"},        {'L', "LONG"},       {'F', "FLOAT"},
        {'S', "STRING"},     {'V', "UNICODE"},    {'g', "GET"},
        {'p', "PUT"},        {0x97, "NEXT_BUFFER"}, {0x98, "READONLY_BUFFER"},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == code)
            return err_set(p->err, ERR_UNSUPPORTED,
                           "the pickle in it has the instruction %s, which no checkpoint of "
                           "PyTorch's needs: refused",
                           known[i].name);
    return err_set(p->err, ERR_INVALID, "a broken pickle: no instruction 0x%02x", code);
}

/* An operand of so many bytes. */
static bool operand(struct pickle *p, int bytes, uint64_t *out)
{
    const unsigned char *b = take(p, (size_t)bytes);
    if (b)
        *out = number(b, bytes);
    return b;
}

static bool step_value(struct pickle *p, unsigned char code)
{
    uint64_t n = 0;
    switch (code) {
    case 'N':
        return push(p, pickle_new(p, PICKLE_NONE));
    case 0x88: /* NEWTRUE */
    case 0x89: /* NEWFALSE */
        return push_integer(p, code == 0x88);
    case 'J': /* BININT */
        return operand(p, 4, &n) && push_integer(p, (int32_t)(uint32_t)n);
    case 'K': /* BININT1 */
        return operand(p, 1, &n) && push_integer(p, (int64_t)n);
    case 'M': /* BININT2 */
        return operand(p, 2, &n) && push_integer(p, (int64_t)n);
    case 0x8a: /* LONG1 */
        return operand(p, 1, &n) && push_long(p, (size_t)n);
    case 0x8b: /* LONG4 */
        return operand(p, 4, &n) && push_long(p, (size_t)n);
    case 'G': /* BINFLOAT */
        return push_float(p);
    case 'U':  /* SHORT_BINSTRING */
    case 'C':  /* SHORT_BINBYTES */
    case 0x8c: /* SHORT_BINUNICODE */
        return push_string(p, 1);
    case 'T': /* BINSTRING */
    case 'X': /* BINUNICODE */
    case 'B': /* BINBYTES */
        return push_string(p, 4);
    case 0x8d: /* BINUNICODE8 */
    case 0x8e: /* BINBYTES8 */
    case 0x96: /* BYTEARRAY8 */
        return push_string(p, 8);
    case 'c': /* GLOBAL */
        return push_global(p);
    case 0x93: /* STACK_GLOBAL */
        return push_stack_global(p);
    }
    return refuse(p, code);
}

static bool step(struct pickle *p, unsigned char code)
{
    uint64_t n = 0;
    size_t first, count;
    switch (code) {
    case 0x80: /* PROTO */
        return operand(p, 1, &n) &&
               (n <= 5 || err_set(p->err, ERR_UNSUPPORTED,
                                  "a pickle of protocol %d; wanted 5 at most", (int)n));
    case 0x95: /* FRAME */
        return operand(p, 8, &n);
    case '(':
        return mark(p);
    case '0': /* POP */
        return p->height > floor_of(p) ? pop(p) != PICKLE_NOTHING : pop_mark(p, &first, &count);
    case '1': /* POP_MARK */
        return pop_mark(p, &first, &count);
    case '2': /* DUP */
        return push(p, top(p));
    case ']':  /* EMPTY_LIST */
    case ')':  /* EMPTY_TUPLE */
    case 0x8f: /* EMPTY_SET */
        return push_filled(p, PICKLE_LIST, 0);
    case '}': /* EMPTY_DICT */
        return push_filled(p, PICKLE_DICT, 0);
    case 'l':  /* LIST */
    case 't':  /* TUPLE */
    case 0x91: /* FROZENSET */
        return push_filled(p, PICKLE_LIST, -1);
    case 'd': /* DICT */
        return push_filled(p, PICKLE_DICT, -1);
    case 0x85: /* TUPLE1 */
    case 0x86: /* TUPLE2 */
    case 0x87: /* TUPLE3 */
        return push_filled(p, PICKLE_LIST, code - 0x84);
    case 'a': /* APPEND */
        return fill_below(p, PICKLE_LIST, 1);
    case 'e':  /* APPENDS */
    case 0x90: /* ADDITEMS */
        return fill_below(p, PICKLE_LIST, -1);
    case 's': /* SETITEM */
        return fill_below(p, PICKLE_DICT, 2);
    case 'u': /* SETITEMS */
        return fill_below(p, PICKLE_DICT, -1);
    case 'q': /* BINPUT */
        return operand(p, 1, &n) && remember(p, n);
    case 'r': /* LONG_BINPUT */
        return operand(p, 4, &n) && remember(p, n);
    case 0x94: /* MEMOIZE */
        return remember(p, p->memo_next++);
    case 'h': /* BINGET */
        return operand(p, 1, &n) && recall(p, n);
    case 'j': /* LONG_BINGET */
        return operand(p, 4, &n) && recall(p, n);
    case 'R':  /* REDUCE */
    case 0x81: /* NEWOBJ */
        return call(p, false);
    case 0x92: /* NEWOBJ_EX */
        return call(p, true);
    case 'b': /* BUILD */
        return build(p);
    case 'Q': { /* BINPERSID */
        uint32_t id = pop(p);
        return id != PICKLE_NOTHING && push(p, pickle_persistent(p, id));
    }
    }
    return step_value(p, code);
}

static bool run(struct pickle *p)
{
    for (;;) {
        const unsigned char *code = take(p, 1);
        if (!code)
            return false;
        if (*code == '.') /* STOP */
            return (p->root = pop(p)) != PICKLE_NOTHING;
        if (!step(p, *code))
            return false;
    }
}

struct pickle *pickle_read(const void *data, size_t size, size_t *used, bool *more,
                           struct err *err)
{
    struct pickle *p = calloc(1, sizeof *p);
    *more = false;
    if (!p) {
        err_set(err, ERR_INTERNAL, "no memory for a pickle");
        return NULL;
    }
    p->at = data;
    p->end = p->at + size;
    p->err = err;
    bool ok = run(p);
    *more = p->more;
    *used = (size_t)(p->at - (const unsigned char *)data);
    p->at = p->end = NULL;
    p->err = NULL;
    if (ok)
        return p;
    pickle_free(p);
    return NULL;
}

void pickle_free(struct pickle *p)
{
    if (!p)
        return;
    for (size_t i = 0; i < p->value_count; i++)
        if (p->values[i].kind == PICKLE_LIST || p->values[i].kind == PICKLE_DICT)
            free(p->values[i].items);
    while (p->texts) {
        struct pickle_text *next = p->texts->next;
        free(p->texts);
        p->texts = next;
    }
    free(p->values);
    free(p->stack);
    free(p->marks);
    free(p->memo);
    free(p->storages);
    free(p->tensors);
    free(p);
}

/* ---- looking ---- */

const struct pickle_value *pickle_root(const struct pickle *p)
{
    return &p->values[p->root];
}

size_t pickle_values(const struct pickle *p)
{
    return p->value_count;
}

const struct pickle_value *pickle_at(const struct pickle *p, uint32_t index)
{
    return &p->values[index];
}

/* The last of several: that is what a dict in Python keeps. */
const struct pickle_value *pickle_get(const struct pickle *p, const struct pickle_value *dict,
                                      const char *key)
{
    size_t length = strlen(key);
    for (size_t i = dict->kind == PICKLE_DICT ? dict->count : 0; i >= 2; i -= 2) {
        const struct pickle_value *k = &p->values[dict->items[i - 2]];
        if (k->kind == PICKLE_STRING && k->count == length && memcmp(k->string, key, length) == 0)
            return &p->values[dict->items[i - 1]];
    }
    return NULL;
}

size_t pickle_storages(const struct pickle *p)
{
    return p->storage_count;
}

const struct pickle_storage *pickle_storage(const struct pickle *p, size_t i)
{
    return &p->storages[i];
}

const struct pickle_tensor *pickle_tensor(const struct pickle *p, const struct pickle_value *v)
{
    return v->kind == PICKLE_TENSOR ? &p->tensors[v->index] : NULL;
}
