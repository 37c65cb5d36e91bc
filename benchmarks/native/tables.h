/* Texts that grow, tables of names, and what the null server keeps in them. */

#ifndef BENCH_TABLES_H
#define BENCH_TABLES_H

#include "http.h"

#include <stdarg.h>
#include <time.h>

struct text {
    char *data;
    size_t length, room;
};

static inline void text_put(struct text *t, const char *data, size_t length)
{
    if (t->length + length + 1 > t->room) {
        t->room = (t->length + length + 1) * 2;
        t->data = need(realloc(t->data, t->room));
    }
    memcpy(t->data + t->length, data, length);
    t->length += length;
    t->data[t->length] = 0;
}

__attribute__((format(printf, 2, 3))) static inline void text_add(struct text *t,
                                                                  const char *format, ...)
{
    char line[8192];
    va_list given;
    va_start(given, format);
    int n = vsnprintf(line, sizeof line, format, given);
    va_end(given);
    text_put(t, line, n < (int)sizeof line ? (size_t)n : sizeof line - 1);
}

static inline void text_drop(struct text *t)
{
    free(t->data);
    memset(t, 0, sizeof *t);
}

/* A checksum that a client sent: the end of its header's name, and its value. */
struct checksum {
    char name[24];
    char value[96];
};

/* An object that was written; data only where bytes are kept, more is headers to give back. */
struct object {
    uint64_t size;
    time_t at;
    char etag[48];
    struct checksum sum;
    char *data, *more;
};

struct part {
    int is_there;
    uint64_t size;
    unsigned char md5[16];
    struct checksum sum;
};

struct upload {
    char *more;
    struct part *parts;
    int room;
};

struct entry {
    char *name;
    void *value;
    struct entry *next;
};

#define SLOTS 65536

struct table {
    struct entry **slots;
    size_t count;
};

static inline struct entry **table_place(struct table *t, const char *name)
{
    uint32_t hash = 2166136261u;
    if (!t->slots)
        t->slots = need(calloc(SLOTS, sizeof *t->slots));
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 16777619u;
    struct entry **place = &t->slots[(hash ^ hash >> 16) % SLOTS];
    while (*place && strcmp((*place)->name, name) != 0)
        place = &(*place)->next;
    return place;
}

static inline void *table_get(struct table *t, const char *name)
{
    struct entry *found = *table_place(t, name);
    return found ? found->value : NULL;
}

/* Take an entry out, and return its value. */
static inline void *table_take(struct table *t, const char *name)
{
    struct entry **place = table_place(t, name), *found = *place;
    if (!found)
        return NULL;
    void *value = found->value;
    *place = found->next;
    free(found->name);
    free(found);
    t->count--;
    return value;
}

/* Put a value in the place of what stands there, and return that. */
static inline void *table_put(struct table *t, const char *name, void *value)
{
    struct entry **place = table_place(t, name);
    if (*place) {
        void *old = (*place)->value;
        (*place)->value = value;
        return old;
    }
    *place = need(calloc(1, sizeof **place));
    (*place)->name = need(strdup(name));
    (*place)->value = value;
    t->count++;
    return NULL;
}

static inline void table_each(struct table *t, void (*visit)(struct entry *, void *), void *with)
{
    for (size_t i = 0; t->slots && i < SLOTS; i++)
        for (struct entry *e = t->slots[i]; e; e = e->next)
            visit(e, with);
}

static inline void table_clear(struct table *t, void (*drop)(void *))
{
    for (size_t i = 0; t->slots && i < SLOTS; i++)
        while (t->slots[i]) {
            struct entry *e = t->slots[i];
            t->slots[i] = e->next;
            drop(e->value);
            free(e->name);
            free(e);
        }
    t->count = 0;
}

static inline void object_drop(void *value)
{
    struct object *o = value;
    if (!o)
        return;
    free(o->data);
    free(o->more);
    free(o);
}

static inline struct object *object_copy(const struct object *o)
{
    struct object *copy = need(malloc(sizeof *copy));
    *copy = *o;
    if (o->data) {
        copy->data = need(malloc(o->size + 1));
        memcpy(copy->data, o->data, o->size);
    }
    if (o->more)
        copy->more = need(strdup(o->more));
    return copy;
}

static inline void upload_drop(void *value)
{
    struct upload *u = value;
    if (!u)
        return;
    free(u->parts);
    free(u->more);
    free(u);
}

#endif
