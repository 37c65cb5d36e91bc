/*
 * An S3 that stores no bytes: what it is asked for it makes up, what it is sent it only compares.
 *
 * null_s3 [--tls CERT KEY] [--delay-ms N]
 *
 * Prints its port on 127.0.0.1 and serves until its stdin ends. Buckets, in path style:
 *
 *   source  big/PARTSxMIB/object, a multipart object of so many parts of so many MiB, and
 *           objects/SIZE/COUNT/INDEX, whose index has eight digits;
 *   target  keeps sizes, ETags, checksums and metadata of what is written;
 *   state   keeps its objects whole.
 *
 * POST /reset forgets the target, all uploads, and all of the state since POST /keep; GET /totals
 * tells what came since. --delay-ms waits once for each request, before its answer's first byte.
 *
 * It shares the machine with the program that is measured, so it has to be cheap: it checks no
 * signatures, only the state's checksums, and knows just the calls that a copy makes. Arriving bytes are compared
 * with what stands at the source, which costs far less than a digest; a body that is not the right
 * one is counted, and answered with an ETag that is not the right one either.
 */

#include "content.h"

#include <ctype.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/resource.h>

static SSL_CTX *tls;
static long delay_ms;

/* All that is kept, under one lock. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct table objects, kept_state, uploads;
static unsigned long bad_bodies, parts_sent, next_upload;

/* Counted since the last reset. */
static const char *const METHODS[] = {"GET", "HEAD", "PUT", "POST", "DELETE"};
static atomic_ulong requests[5];
static atomic_long under_way, most_under_way;
static atomic_llong first_ns, last_ns;

struct request {
    char method[8], bucket[64], key[2048], query[4096];
    struct conn *c;
    int is_head, waits;
};

/* --- Small things. --- */

static long long now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000000ll + now.tv_nsec;
}

static void unescape(char *to, size_t room, const char *from, size_t length, int plus)
{
    size_t filled = 0;
    for (size_t i = 0; i < length && filled + 1 < room; i++) {
        unsigned code;
        if (from[i] == '%' && i + 2 < length && sscanf(from + i + 1, "%2x", &code) == 1) {
            to[filled++] = (char)code;
            i += 2;
        } else
            to[filled++] = plus && from[i] == '+' ? ' ' : from[i];
    }
    to[filled] = 0;
}

/* Give a parameter of the query; return whether it is there. */
static int asked(const struct request *r, const char *name, char *value, size_t room)
{
    size_t wanted = strlen(name);
    const char *at = r->query;
    value[0] = 0;
    while (*at) {
        size_t length = strcspn(at, "&");
        if (strncmp(at, name, wanted) == 0 && (length == wanted || at[wanted] == '=')) {
            if (length > wanted)
                unescape(value, room, at + wanted + 1, length - wanted - 1, 1);
            return 1;
        }
        at += length + (at[length] == '&');
    }
    return 0;
}

static int has(const struct request *r, const char *name)
{
    char nothing[8];
    return asked(r, name, nothing, sizeof nothing);
}

static void add_key(struct text *t, const char *key, int url)
{
    for (const char *c = key; *c; c++) {
        unsigned char byte = (unsigned char)*c;
        if (url && !isalnum(byte) && !strchr("-_.~/*", byte))
            text_add(t, "%%%02X", byte);
        else if (byte == '&' || byte == '<' || byte == '>')
            text_add(t, "&#%u;", byte);
        else
            text_put(t, c, 1);
    }
}

static void add_stamp(struct text *t, time_t at, const char *format)
{
    char stamp[64];
    struct tm when;
    gmtime_r(&at, &when);
    strftime(stamp, sizeof stamp, format, &when);
    text_add(t, "%s", stamp);
}

#define ISO_STAMP "%Y-%m-%dT%H:%M:%S.000Z"
#define HTTP_STAMP "%a, %d %b %Y %H:%M:%S GMT"
#define LONG_AGO 1767225600 /* 2026-01-01 */

/* --- Answers. --- */

static const char *reason(int status)
{
    switch (status) {
    case 200: return "OK";
    case 204: return "No Content";
    case 206: return "Partial Content";
    case 304: return "Not Modified";
    case 404: return "Not Found";
    case 412: return "Precondition Failed";
    case 416: return "Range Not Satisfiable";
    case 501: return "Not Implemented";
    default: return "Bad Request";
    }
}

static void wait_once(struct request *r)
{
    struct timespec pause = {.tv_sec = delay_ms / 1000, .tv_nsec = delay_ms % 1000 * 1000000};
    if (r->waits && delay_ms)
        while (nanosleep(&pause, &pause) < 0 && errno == EINTR)
            continue;
    r->waits = 0;
}

static void add_status(struct text *t, int status, uint64_t length)
{
    static atomic_ulong answers;
    text_add(t, "HTTP/1.1 %d %s\r\nServer: null\r\nx-amz-request-id: %016lX\r\n", status,
             reason(status), atomic_fetch_add(&answers, 1));
    if (status != 204)
        text_add(t, "Content-Length: %llu\r\n", (unsigned long long)length);
}

/* Answer with a body that is at hand; more is further headers. Return whether it went. */
static int answer(struct request *r, int status, const char *more, const struct text *body)
{
    struct text head = {0};
    size_t length = body ? body->length : 0;
    add_status(&head, status, r->is_head ? 0 : length);
    text_add(&head, "%s%s\r\n", length ? "Content-Type: application/xml\r\n" : "", more);
    struct iovec pieces[2] = {{head.data, head.length}, {length ? body->data : "", length}};
    wait_once(r);
    int went = conn_writev(r->c, pieces, length && !r->is_head ? 2 : 1, 1);
    text_drop(&head);
    return went;
}

static int refuse(struct request *r, int status, const char *code)
{
    struct text body = {0};
    text_add(&body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>%s</Code>"
                    "<Message>%s</Message><RequestId>0</RequestId></Error>", code, code);
    int went = answer(r, status, "", &body);
    text_drop(&body);
    return went;
}

static int answer_xml(struct request *r, struct text *body, const char *more)
{
    int went = answer(r, 200, more, body);
    text_drop(body);
    return went;
}

/* --- Bodies. --- */

typedef void (*sink)(void *with, const char *data, size_t length);

/* What undoes chunks, each behind a line that begins with its size, and trailers at the end. */
struct chunks {
    enum { AT_SIZE, IN_DATA, AFTER_DATA, IN_TRAILERS, ENDED } at;
    uint64_t left;
    char line[4096];
    size_t filled;
    struct text *trailers;
};

static void chunks_line(struct chunks *ch)
{
    ch->line[ch->filled] = 0;
    if (ch->at == AFTER_DATA)
        ch->at = AT_SIZE;
    else if (ch->at == AT_SIZE) {
        ch->left = strtoull(ch->line, NULL, 16);
        ch->at = ch->left ? IN_DATA : IN_TRAILERS;
    } else if (ch->filled <= 1 || ch->line[0] == '\r')
        ch->at = ENDED;
    else
        text_put(ch->trailers, ch->line, ch->filled);
    ch->filled = 0;
}

/* Take bytes, hand on their payload, and return how many were part of the chunks. */
static size_t chunks_take(struct chunks *ch, const char *data, size_t length, sink to, void *with)
{
    size_t used = 0;
    while (used < length && ch->at != ENDED) {
        if (ch->at == IN_DATA) {
            size_t some = length - used < ch->left ? length - used : ch->left;
            to(with, data + used, some);
            used += some;
            ch->left -= some;
            if (!ch->left)
                ch->at = AFTER_DATA;
            continue;
        }
        char byte = data[used++];
        if (ch->filled < sizeof ch->line - 1)
            ch->line[ch->filled++] = byte;
        if (byte == '\n')
            chunks_line(ch);
    }
    return used;
}

struct body {
    int is_aws;
    struct chunks http, aws;
    struct text trailers;
    uint64_t received;
    int is_right, is_compared;
    struct text kept;
};

/* The last stage: compare with the content, or keep. */
static void body_end(void *with, const char *data, size_t length)
{
    struct body *b = with;
    if (!b->is_compared)
        text_put(&b->kept, data, length);
    else if (b->is_right)
        for (size_t done = 0; done < length;) {
            size_t some = length - done < MIB ? length - done : MIB;
            if (memcmp(data + done, pattern + (b->received + done) % MIB, some) != 0)
                b->is_right = 0;
            done += some;
        }
    b->received += length;
}

static void body_middle(void *with, const char *data, size_t length)
{
    struct body *b = with;
    if (b->is_aws)
        chunks_take(&b->aws, data, length, body_end, b);
    else
        body_end(b, data, length);
}

/* Read a request's body; return whether it came whole. */
static int read_body(struct request *r, struct body *b, int is_compared)
{
    struct conn *c = r->c;
    char value[128];
    int is_chunked = header_of(c->head, "Transfer-Encoding", value, sizeof value);
    uint64_t left = 0;
    memset(b, 0, sizeof *b);
    b->is_compared = is_compared;
    b->is_right = 1;
    b->http.trailers = b->aws.trailers = &b->trailers;
    if (!is_chunked && header_of(c->head, "Content-Length", value, sizeof value))
        left = strtoull(value, NULL, 10);
    b->is_aws = header_of(c->head, "Content-Encoding", value, sizeof value)
                && strstr(value, "aws-chunked");
    header_of(c->head, "x-amz-content-sha256", value, sizeof value);
    b->is_aws = b->is_aws || strncmp(value, "STREAMING-", 10) == 0;
    if (header_of(c->head, "Expect", value, sizeof value)
        && !conn_write(c, "HTTP/1.1 100 Continue\r\n\r\n", 25, 1))
        return 0;
    while (is_chunked ? b->http.at != ENDED : left > 0) {
        if (c->start == c->end && !conn_fill(c))
            return 0;
        size_t some = c->end - c->start;
        if (is_chunked)
            some = chunks_take(&b->http, c->in + c->start, some, body_middle, b);
        else {
            some = some < left ? some : left;
            body_middle(b, c->in + c->start, some);
            left -= some;
        }
        c->start += some;
    }
    int has_size = header_of(c->head, "x-amz-decoded-content-length", value, sizeof value);
    return !has_size || strtoull(value, NULL, 10) == b->received;
}

static void drop_body(struct body *b)
{
    text_drop(&b->trailers);
    text_drop(&b->kept);
}

/* Look for a checksum among headers. */
static int find_checksum(const char *head, struct checksum *sum)
{
    static const char NAME[] = "x-amz-checksum-";
    for (const char *line = head; line && *line; line = strchr(line, '\n')) {
        line += *line == '\n';
        if (strncasecmp(line, NAME, sizeof NAME - 1) != 0)
            continue;
        const char *name = line + sizeof NAME - 1, *value = strchr(name, ':');
        size_t length = value ? (size_t)(value - name) : 0;
        if (!length || length >= sizeof sum->name || strncasecmp(name, "type", 4) == 0
            || strncasecmp(name, "algorithm", 9) == 0 || strncasecmp(name, "mode", 4) == 0)
            continue;
        memcpy(sum->name, name, length);
        sum->name[length] = 0;
        value += 1 + strspn(value + 1, " ");
        length = strcspn(value, "\r\n");
        length = length < sizeof sum->value ? length : sizeof sum->value - 1;
        memcpy(sum->value, value, length);
        sum->value[length] = 0;
        return 1;
    }
    return 0;
}

static struct checksum checksum_of(struct request *r, struct body *b)
{
    struct checksum sum = {0};
    if (!find_checksum(r->c->head, &sum) && b->trailers.length)
        find_checksum(b->trailers.data, &sum);
    return sum;
}

static void add_checksum_header(struct text *t, const struct checksum *sum)
{
    if (sum->name[0])
        text_add(t, "x-amz-checksum-%s: %s\r\n", sum->name, sum->value);
}

static void add_checksum_element(struct text *t, const struct checksum *sum)
{
    char name[24] = {0};
    for (size_t i = 0; sum->name[i]; i++)
        name[i] = (char)toupper((unsigned char)sum->name[i]);
    if (name[0])
        text_add(t, "<Checksum%s>%s</Checksum%s>", name, sum->value, name);
}

/* Return the headers of a request that an object gives back. */
static char *metadata_of(const char *head)
{
    struct text found = {0};
    for (const char *line = strchr(head, '\n'); line && line[1]; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, "x-amz-meta-", 11) == 0
            || (strncasecmp(line, "Content-", 8) == 0
                && strncasecmp(line + 8, "Length", 6) != 0 && strncasecmp(line + 8, "MD5", 3) != 0
                && strncasecmp(line + 8, "Encoding", 8) != 0))
            text_put(&found, line, strcspn(line, "\n") + 1);
    }
    return found.data;
}

/* --- Reading objects. --- */

/* Give what a key is, of any bucket; the caller drops what was copied. */
static int look_up(const struct request *r, struct made_up *found, struct object **copy)
{
    char name[2200];
    *copy = NULL;
    if (strcmp(r->bucket, "source") == 0)
        return source_object(r->key, found);
    snprintf(name, sizeof name, "%s/%s", r->bucket, r->key);
    memset(found, 0, sizeof *found);
    pthread_mutex_lock(&lock);
    struct object *kept = table_get(&objects, name);
    if (kept)
        *copy = object_copy(kept);
    pthread_mutex_unlock(&lock);
    if (!*copy)
        return 0;
    found->size = (*copy)->size;
    memcpy(found->etag, (*copy)->etag, sizeof found->etag);
    return 1;
}

static int is_named(const char *etags, const char *etag)
{
    return strcmp(etags, "*") == 0 || strstr(etags, etag);
}

/* Read "bytes=a-b", "bytes=a-" or "bytes=-n" into [first, stop). */
static int read_range(const char *text, uint64_t size, uint64_t *first, uint64_t *stop)
{
    unsigned long long from, to;
    if (sscanf(text, "bytes=-%llu", &to) == 1) {
        *first = size > to ? size - to : 0;
        *stop = size;
        return size > 0;
    }
    int count = sscanf(text, "bytes=%llu-%llu", &from, &to);
    if (count < 1 || from >= size)
        return 0;
    *first = from;
    *stop = count == 2 && to < size ? to + 1 : size;
    return 1;
}

/* Send made-up content of any length by few calls. */
static int send_content(struct conn *c, struct text *head, uint64_t first, uint64_t stop)
{
    struct iovec pieces[17] = {{head->data, head->length}};
    int count = 1;
    while (first < stop) {
        size_t some = stop - first < MIB ? stop - first : MIB;
        pieces[count++] = (struct iovec){pattern + first % MIB, some};
        first += some;
        if (count == 17 || first == stop) {
            if (!conn_writev(c, pieces, count, first == stop))
                return 0;
            count = 0;
        }
    }
    return count == 0 || conn_writev(c, pieces, count, 1);
}

static int send_object(struct request *r, const struct made_up *found, struct object *kept,
                       uint64_t first, uint64_t stop, int status, const char *more)
{
    struct text head = {0};
    int went;
    add_status(&head, status, stop - first);
    text_add(&head, "%sETag: \"%s\"\r\nAccept-Ranges: bytes\r\nLast-Modified: ", more,
             found->etag);
    add_stamp(&head, kept ? kept->at : LONG_AGO, HTTP_STAMP);
    text_add(&head, "\r\n");
    if (kept && kept->more)
        text_put(&head, kept->more, strlen(kept->more));
    if (!kept || !kept->more || !strcasestr(kept->more, "Content-Type:"))
        text_add(&head, "Content-Type: application/octet-stream\r\n");
    if (kept && kept->sum.name[0] && stop - first == found->size) {
        add_checksum_header(&head, &kept->sum);
        text_add(&head, "x-amz-checksum-type: FULL_OBJECT\r\n");
    }
    text_add(&head, "\r\n");
    wait_once(r);
    if (r->is_head)
        went = conn_write(r->c, head.data, head.length, 1);
    else if (kept && kept->data) {
        struct iovec pieces[2] = {{head.data, head.length}, {kept->data + first, stop - first}};
        went = conn_writev(r->c, pieces, 2, 1);
    } else
        went = send_content(r->c, &head, first, stop);
    text_drop(&head);
    return went;
}

static int get_found(struct request *r, const struct made_up *found, struct object *kept)
{
    char value[256];
    struct text more = {0};
    uint64_t first = 0, stop = found->size;
    int status = 200, went;
    if (header_of(r->c->head, "If-Match", value, sizeof value) && !is_named(value, found->etag))
        return refuse(r, 412, "PreconditionFailed");
    if (header_of(r->c->head, "If-None-Match", value, sizeof value)
        && is_named(value, found->etag))
        return refuse(r, 304, "NotModified");
    if (asked(r, "partNumber", value, sizeof value)) {
        uint64_t size = found->part_size ? found->part_size : found->size;
        first = (strtoull(value, NULL, 10) - 1) * size;
        if (first >= found->size)
            return refuse(r, 416, "InvalidPartNumber");
        stop = first + size;
        status = 206;
        if (found->part_size)
            text_add(&more, "x-amz-mp-parts-count: %llu\r\n",
                     (unsigned long long)(found->size / size));
    } else if (header_of(r->c->head, "Range", value, sizeof value)) {
        if (!read_range(value, found->size, &first, &stop))
            return refuse(r, 416, "InvalidRange");
        status = 206;
    }
    if (status == 206)
        text_add(&more, "Content-Range: bytes %llu-%llu/%llu\r\n", (unsigned long long)first,
                 (unsigned long long)stop - 1, (unsigned long long)found->size);
    went = send_object(r, found, kept, first, stop, status, more.data ? more.data : "");
    text_drop(&more);
    return went;
}

static int get_object(struct request *r)
{
    struct made_up found;
    struct object *kept;
    int is_there = look_up(r, &found, &kept);
    int went = is_there ? get_found(r, &found, kept) : refuse(r, 404, "NoSuchKey");
    object_drop(kept);
    return went;
}

/* --- Listings. --- */

struct listing {
    const char *bucket, *prefix, *after;
    unsigned long most, count;
    int is_url, has_more;
    struct text entries;
    char last[2048];
};

static void list_one(struct listing *l, const char *key, uint64_t size, const char *etag, time_t at)
{
    if (l->has_more || strcmp(key, l->after) <= 0
        || strncmp(key, l->prefix, strlen(l->prefix)) != 0)
        return;
    if (l->count == l->most) {
        l->has_more = 1;
        return;
    }
    text_add(&l->entries, "<Contents><Key>");
    add_key(&l->entries, key, l->is_url);
    text_add(&l->entries, "</Key><LastModified>");
    add_stamp(&l->entries, at, ISO_STAMP);
    text_add(&l->entries, "</LastModified><ETag>&quot;%s&quot;</ETag><Size>%llu</Size>"
                          "<StorageClass>STANDARD</StorageClass></Contents>",
             etag, (unsigned long long)size);
    snprintf(l->last, sizeof l->last, "%s", key);
    l->count++;
}

static void list_source(struct listing *l)
{
    unsigned long long size, count;
    unsigned parts, mib;
    struct made_up found;
    char key[128];
    if (sscanf(l->prefix, "big/%ux%u/", &parts, &mib) == 2) {
        snprintf(key, sizeof key, "big/%ux%u/object", parts, mib);
        if (source_object(key, &found))
            list_one(l, key, found.size, found.etag, LONG_AGO);
        return;
    }
    if (sscanf(l->prefix, "objects/%llu/%llu/", &size, &count) != 2)
        return;
    unsigned long long low = 0, high = count;
    while (low < high) { /* The first key behind where the last page ended. */
        unsigned long long middle = (low + high) / 2;
        snprintf(key, sizeof key, "objects/%llu/%llu/%08llu", size, count, middle);
        if (strcmp(key, l->after) <= 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (; low < count && !l->has_more; low++) {
        snprintf(key, sizeof key, "objects/%llu/%llu/%08llu", size, count, low);
        if (source_object(key, &found))
            list_one(l, key, found.size, found.etag, LONG_AGO);
    }
}

struct found_entries {
    const char *start;
    struct entry **entries;
    size_t count;
};

static void gather(struct entry *e, void *with)
{
    struct found_entries *f = with;
    if (strncmp(e->name, f->start, strlen(f->start)) == 0)
        f->entries[f->count++] = e;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(struct entry *const *)a)->name, (*(struct entry *const *)b)->name);
}

static void list_kept(struct listing *l)
{
    char start[2200];
    snprintf(start, sizeof start, "%s/%s", l->bucket, l->prefix);
    pthread_mutex_lock(&lock);
    struct found_entries f = {start, need(calloc(objects.count + 1, sizeof *f.entries)), 0};
    table_each(&objects, gather, &f);
    qsort(f.entries, f.count, sizeof *f.entries, by_name);
    for (size_t i = 0; i < f.count && !l->has_more; i++) {
        struct object *o = f.entries[i]->value;
        list_one(l, f.entries[i]->name + strlen(l->bucket) + 1, o->size, o->etag, o->at);
    }
    pthread_mutex_unlock(&lock);
    free(f.entries);
}

static int list_objects(struct request *r)
{
    char prefix[2048], after[2048], token[2048], value[32];
    int is_second = has(r, "list-type");
    struct text body = {0};
    asked(r, "prefix", prefix, sizeof prefix);
    asked(r, is_second ? "start-after" : "marker", after, sizeof after);
    asked(r, "continuation-token", token, sizeof token);
    struct listing l = {.bucket = r->bucket, .prefix = prefix, .most = 1000};
    l.after = strcmp(token, after) > 0 ? token : after;
    if (asked(r, "max-keys", value, sizeof value) && strtoul(value, NULL, 10) < l.most)
        l.most = strtoul(value, NULL, 10);
    l.is_url = has(r, "encoding-type");
    if (strcmp(r->bucket, "source") == 0)
        list_source(&l);
    else
        list_kept(&l);
    text_add(&body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult "
                    "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>%s</Name><Prefix>",
             r->bucket);
    add_key(&body, prefix, l.is_url);
    text_add(&body, "</Prefix><MaxKeys>%lu</MaxKeys><IsTruncated>%s</IsTruncated>", l.most,
             l.has_more ? "true" : "false");
    if (l.is_url)
        text_add(&body, "<EncodingType>url</EncodingType>");
    if (is_second)
        text_add(&body, "<KeyCount>%lu</KeyCount>", l.count);
    if (l.has_more) {
        const char *name = is_second ? "NextContinuationToken" : "NextMarker";
        text_add(&body, "<%s>", name);
        add_key(&body, l.last, l.is_url && !is_second);
        text_add(&body, "</%s>", name);
    }
    text_put(&body, l.entries.data ? l.entries.data : "", l.entries.length);
    text_add(&body, "</ListBucketResult>");
    text_drop(&l.entries);
    return answer_xml(r, &body, "");
}

static int list_parts(struct request *r, const char *id)
{
    struct text body = {0};
    text_add(&body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListPartsResult><Bucket>%s"
                    "</Bucket><Key>", r->bucket);
    add_key(&body, r->key, 0);
    text_add(&body, "</Key><UploadId>%s</UploadId><MaxParts>10000</MaxParts>"
                    "<IsTruncated>false</IsTruncated>", id);
    pthread_mutex_lock(&lock);
    struct upload *upload = table_get(&uploads, id);
    for (int i = 0; upload && i < upload->room; i++) {
        struct part *part = &upload->parts[i];
        char etag[33];
        if (!part->is_there)
            continue;
        md5_text(part->md5, etag);
        text_add(&body, "<Part><PartNumber>%d</PartNumber><LastModified>2026-01-01T00:00:00.000Z"
                        "</LastModified><ETag>&quot;%s&quot;</ETag><Size>%llu</Size>",
                 i, etag, (unsigned long long)part->size);
        add_checksum_element(&body, &part->sum);
        text_add(&body, "</Part>");
    }
    pthread_mutex_unlock(&lock);
    text_add(&body, "</ListPartsResult>");
    if (upload)
        return answer_xml(r, &body, "");
    text_drop(&body);
    return refuse(r, 404, "NoSuchUpload");
}

/* --- Writing. --- */

/* Give the MD5 that a body is answered with: not the right one if other bytes came. */
static void judge_body(struct body *b, unsigned char digest[16])
{
    if (!b->is_compared) {
        md5_of_bytes(b->kept.data ? b->kept.data : "", b->kept.length, digest);
        return;
    }
    md5_of_size(b->received, digest);
    if (!b->is_right) {
        digest[0] ^= 0xff;
        pthread_mutex_lock(&lock);
        bad_bodies++;
        pthread_mutex_unlock(&lock);
    }
}

static int answer_etag(struct request *r, const char *etag, const struct checksum *sum)
{
    struct text more = {0};
    text_add(&more, "ETag: \"%s\"\r\n", etag);
    add_checksum_header(&more, sum);
    int went = answer(r, 200, more.data, NULL);
    text_drop(&more);
    return went;
}

static int put_part(struct request *r, struct body *b, const char *id)
{
    char value[32], etag[33];
    struct part part = {.is_there = 1, .size = b->received, .sum = checksum_of(r, b)};
    asked(r, "partNumber", value, sizeof value);
    int number = atoi(value);
    judge_body(b, part.md5);
    pthread_mutex_lock(&lock);
    struct upload *upload = number >= 1 && number <= 10000 ? table_get(&uploads, id) : NULL;
    if (upload) {
        if (number >= upload->room) {
            int room = number * 2 + 16;
            upload->parts = need(realloc(upload->parts, (size_t)room * sizeof part));
            memset(upload->parts + upload->room, 0, (size_t)(room - upload->room) * sizeof part);
            upload->room = room;
        }
        upload->parts[number] = part;
        parts_sent++;
    }
    pthread_mutex_unlock(&lock);
    if (!upload)
        return refuse(r, 404, "NoSuchUpload");
    md5_text(part.md5, etag);
    return answer_etag(r, etag, &part.sum);
}

/* Tell whether the conditions of a write hold; the lock is held. */
static int may_write(struct request *r, const struct object *old)
{
    char value[256];
    if (header_of(r->c->head, "If-None-Match", value, sizeof value) && old)
        return 0;
    if (header_of(r->c->head, "If-Match", value, sizeof value))
        return old && is_named(value, old->etag);
    return 1;
}

/* Put an object where the conditions hold, and return whether they do. */
static int store(struct request *r, struct object *made)
{
    char name[2200];
    snprintf(name, sizeof name, "%s/%s", r->bucket, r->key);
    made->at = time(NULL);
    pthread_mutex_lock(&lock);
    int may = may_write(r, table_get(&objects, name));
    object_drop(may ? table_put(&objects, name, made) : made);
    pthread_mutex_unlock(&lock);
    return may;
}

/* Tell whether bytes that are kept are those of their CRC64NVME: a plan tries whether we look. */
static int is_sound(const struct body *b, const struct checksum *sum)
{
    char right[16];
    if (b->is_compared || strcasecmp(sum->name, "crc64nvme") != 0)
        return 1;
    crc64nvme_text(b->kept.data ? b->kept.data : "", b->kept.length, right);
    return strcmp(right, sum->value) == 0;
}

static int put_object(struct request *r, struct body *b)
{
    unsigned char digest[16];
    char etag[48];
    struct checksum sum = checksum_of(r, b);
    if (!is_sound(b, &sum))
        return refuse(r, 400, "BadDigest");
    struct object *made = need(calloc(1, sizeof *made));
    judge_body(b, digest);
    md5_text(digest, etag);
    made->size = b->received;
    memcpy(made->etag, etag, sizeof etag);
    made->sum = sum;
    made->more = metadata_of(r->c->head);
    if (!b->is_compared) {
        text_put(&b->kept, "", 0);
        made->data = b->kept.data;
        b->kept.data = NULL;
    }
    if (!store(r, made))
        return refuse(r, 412, "PreconditionFailed");
    return answer_etag(r, etag, &sum);
}

static int put(struct request *r)
{
    struct body body;
    char value[64], id[128];
    int went;
    int is_copy = header_of(r->c->head, "x-amz-copy-source", value, sizeof value);
    int is_whole = read_body(r, &body, strcmp(r->bucket, "target") == 0);
    if (!is_whole)
        went = 0;
    else if (is_copy || has(r, "tagging"))
        went = refuse(r, 501, "NotImplemented");
    else if (!r->key[0]) /* CreateBucket; it is there. */
        went = answer(r, 200, "", NULL);
    else if (asked(r, "uploadId", id, sizeof id))
        went = put_part(r, &body, id);
    else
        went = put_object(r, &body);
    drop_body(&body);
    return went;
}

static int create_upload(struct request *r)
{
    char id[64];
    struct text body = {0};
    struct upload *made = need(calloc(1, sizeof *made));
    made->more = metadata_of(r->c->head);
    pthread_mutex_lock(&lock);
    snprintf(id, sizeof id, "upload-%lu", next_upload++);
    table_put(&uploads, id, made);
    pthread_mutex_unlock(&lock);
    text_add(&body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<InitiateMultipartUploadResult>"
                    "<Bucket>%s</Bucket><Key>", r->bucket);
    add_key(&body, r->key, 0);
    text_add(&body, "</Key><UploadId>%s</UploadId></InitiateMultipartUploadResult>", id);
    return answer_xml(r, &body, "");
}

/* Make the object of the parts that a document names, in its order; NULL if one is missing. */
static struct object *assemble(const struct upload *upload, const char *document)
{
    static const char NAME[] = "<PartNumber>";
    unsigned char *digests = need(malloc(16 * 10001));
    struct object *made = need(calloc(1, sizeof *made));
    size_t count = 0;
    for (const char *at = document; (at = strstr(at, NAME)); at++) {
        int number = atoi(at + sizeof NAME - 1);
        if (number < 1 || number >= upload->room || !upload->parts[number].is_there
            || count == 10000) {
            count = 0;
            break;
        }
        memcpy(digests + 16 * count++, upload->parts[number].md5, 16);
        made->size += upload->parts[number].size;
    }
    if (count) {
        etag_of_parts(digests, count, made->etag);
        made->more = upload->more ? need(strdup(upload->more)) : NULL;
    } else {
        object_drop(made);
        made = NULL;
    }
    free(digests);
    return made;
}

static int answer_completed(struct request *r, const char *etag, const struct checksum *sum)
{
    struct text body = {0};
    text_add(&body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<CompleteMultipartUploadResult "
                    "xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Location>/%s/",
             r->bucket);
    add_key(&body, r->key, 0);
    text_add(&body, "</Location><Bucket>%s</Bucket><Key>", r->bucket);
    add_key(&body, r->key, 0);
    text_add(&body, "</Key><ETag>&quot;%s&quot;</ETag>", etag);
    add_checksum_element(&body, sum);
    if (sum->name[0])
        text_add(&body, "<ChecksumType>FULL_OBJECT</ChecksumType>");
    text_add(&body, "</CompleteMultipartUploadResult>");
    return answer_xml(r, &body, "");
}

static int complete_upload(struct request *r, const char *id, const char *document)
{
    struct object *made = NULL;
    struct checksum sum = {0};
    char etag[48];
    pthread_mutex_lock(&lock);
    struct upload *upload = table_get(&uploads, id);
    if (upload)
        made = assemble(upload, document);
    pthread_mutex_unlock(&lock);
    if (!made)
        return refuse(r, upload ? 400 : 404, upload ? "InvalidPart" : "NoSuchUpload");
    find_checksum(r->c->head, &sum);
    made->sum = sum;
    memcpy(etag, made->etag, sizeof etag);
    if (!store(r, made))
        return refuse(r, 412, "PreconditionFailed");
    pthread_mutex_lock(&lock);
    upload_drop(table_take(&uploads, id));
    pthread_mutex_unlock(&lock);
    return answer_completed(r, etag, &sum);
}

/* --- Orders of the benchmark. --- */

static void keep_one(struct entry *e, void *with)
{
    if (strncmp(e->name, "state/", 6) == 0)
        table_put(with, e->name, object_copy(e->value));
}

static void keep(void)
{
    pthread_mutex_lock(&lock);
    table_clear(&kept_state, object_drop);
    table_each(&objects, keep_one, &kept_state);
    pthread_mutex_unlock(&lock);
}

static void reset(void)
{
    pthread_mutex_lock(&lock);
    table_clear(&objects, object_drop);
    table_each(&kept_state, keep_one, &objects);
    table_clear(&uploads, upload_drop);
    bad_bodies = parts_sent = 0;
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 5; i++)
        atomic_store(&requests[i], 0);
    atomic_store(&most_under_way, 0);
    atomic_store(&first_ns, 0);
    atomic_store(&last_ns, 0);
}

struct sums {
    unsigned long count, strange;
    unsigned long long bytes;
};

static void sum_one(struct entry *e, void *with)
{
    struct sums *s = with;
    struct object *o = e->value;
    struct made_up meant;
    if (strncmp(e->name, "target/", 7) != 0)
        return;
    s->count++;
    s->bytes += o->size;
    s->strange += !source_object(e->name + 7, &meant) || meant.size != o->size;
}

static int tell_totals(struct request *r)
{
    struct sums s = {0};
    struct text body = {0};
    struct rusage used;
    double span = (double)(atomic_load(&last_ns) - atomic_load(&first_ns)) / 1e9;
    pthread_mutex_lock(&lock);
    table_each(&objects, sum_one, &s);
    text_add(&body, "{\"objects\": %lu, \"bytes\": %llu, \"strange\": %lu, \"bad\": %lu, "
                    "\"uploads\": %zu, \"parts\": %lu, \"requests\": {",
             s.count, s.bytes, s.strange, bad_bodies, uploads.count, parts_sent);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < 5; i++)
        text_add(&body, "%s\"%s\": %lu", i ? ", " : "", METHODS[i], atomic_load(&requests[i]));
    getrusage(RUSAGE_SELF, &used);
    text_add(&body, "}, \"most_at_once\": %ld, \"span_s\": %.6f, \"server_cpu_s\": %.3f}",
             atomic_load(&most_under_way), atomic_load(&first_ns) ? span : 0,
             (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
                 + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
    return answer_xml(r, &body, "");
}

/* --- Requests. --- */

static int get(struct request *r)
{
    struct text body = {0};
    char id[128];
    if (asked(r, "uploadId", id, sizeof id) && !r->is_head)
        return list_parts(r, id);
    if (has(r, "tagging"))
        text_add(&body, "<Tagging><TagSet></TagSet></Tagging>");
    else if (has(r, "uploads"))
        text_add(&body, "<ListMultipartUploadsResult><Bucket>%s</Bucket>"
                        "<IsTruncated>false</IsTruncated></ListMultipartUploadsResult>",
                 r->bucket);
    else if (has(r, "location"))
        text_add(&body, "<LocationConstraint></LocationConstraint>");
    else if (has(r, "versioning"))
        text_add(&body, "<VersioningConfiguration></VersioningConfiguration>");
    if (body.length)
        return answer_xml(r, &body, "");
    if (has(r, "attributes") || has(r, "versions") || has(r, "acl"))
        return refuse(r, 501, "NotImplemented");
    if (r->key[0])
        return get_object(r);
    return r->is_head ? answer(r, 200, "", NULL) : list_objects(r);
}

static int post(struct request *r)
{
    struct body body;
    char id[128];
    int went = 0;
    if (!read_body(r, &body, 0))
        went = 0;
    else if (has(r, "uploads"))
        went = create_upload(r);
    else if (asked(r, "uploadId", id, sizeof id))
        went = complete_upload(r, id, body.kept.data ? body.kept.data : "");
    else
        went = refuse(r, 501, "NotImplemented");
    drop_body(&body);
    return went;
}

static int delete(struct request *r)
{
    char id[128], name[2200];
    snprintf(name, sizeof name, "%s/%s", r->bucket, r->key);
    int is_upload = asked(r, "uploadId", id, sizeof id);
    pthread_mutex_lock(&lock);
    if (is_upload)
        upload_drop(table_take(&uploads, id));
    else
        object_drop(table_take(&objects, name));
    pthread_mutex_unlock(&lock);
    return answer(r, 204, "", NULL);
}

/* Read the request line; return whether it is one. */
static int read_line(struct request *r)
{
    char target[8192];
    r->bucket[0] = r->key[0] = r->query[0] = 0;
    if (sscanf(r->c->head, "%7s %8191s", r->method, target) != 2 || target[0] != '/')
        return 0;
    size_t path = strcspn(target, "?");
    size_t bucket = strcspn(target + 1, "/?");
    snprintf(r->query, sizeof r->query, "%s", target[path] ? target + path + 1 : "");
    if (bucket >= sizeof r->bucket)
        return 0;
    memcpy(r->bucket, target + 1, bucket);
    r->bucket[bucket] = 0;
    if (bucket + 2 < path)
        unescape(r->key, sizeof r->key, target + bucket + 2, path - bucket - 2, 0);
    r->is_head = strcmp(r->method, "HEAD") == 0;
    return 1;
}

/* Orders are neither counted nor delayed. Return -1 for what is none. */
static int obey(struct request *r)
{
    struct body body;
    int is_reset = strcmp(r->bucket, "reset") == 0, is_keep = strcmp(r->bucket, "keep") == 0;
    if (strcmp(r->bucket, "totals") == 0)
        return tell_totals(r);
    if (!is_reset && !is_keep)
        return -1;
    if (!read_body(r, &body, 0))
        return 0;
    drop_body(&body);
    if (is_reset)
        reset();
    else
        keep();
    return answer(r, 200, "", NULL);
}

static int dispatch(struct request *r)
{
    if (strcmp(r->bucket, "source") && strcmp(r->bucket, "target") && strcmp(r->bucket, "state")) {
        refuse(r, 404, "NoSuchBucket");
        return 0; /* A body may follow, which nobody reads. */
    }
    switch (r->method[0]) {
    case 'G':
    case 'H': return get(r);
    case 'D': return delete(r);
    default: return strcmp(r->method, "PUT") == 0 ? put(r) : post(r);
    }
}

/* Answer one request; return whether the connection is good for more. */
static int serve_one(struct request *r)
{
    char value[32];
    if (!read_line(r))
        return 0;
    r->waits = 0;
    int is_last = header_of(r->c->head, "Connection", value, sizeof value)
                  && strcasecmp(value, "close") == 0;
    int obeyed = obey(r);
    if (obeyed >= 0)
        return obeyed && !is_last;
    long long nothing = 0;
    long now = atomic_fetch_add(&under_way, 1) + 1, most = atomic_load(&most_under_way);
    while (now > most && !atomic_compare_exchange_weak(&most_under_way, &most, now))
        continue;
    int is_copying = r->key[0] && strcmp(r->bucket, "state") != 0;
    if (is_copying)
        atomic_compare_exchange_strong(&first_ns, &nothing, now_ns());
    for (int i = 0; i < 5; i++)
        if (strcmp(r->method, METHODS[i]) == 0)
            atomic_fetch_add(&requests[i], 1);
    r->waits = 1;
    int went = dispatch(r);
    if (is_copying)
        atomic_store(&last_ns, now_ns());
    atomic_fetch_sub(&under_way, 1);
    return went && !is_last;
}

static void *serve(void *given)
{
    struct conn c;
    struct request *r = need(calloc(1, sizeof *r));
    conn_open(&c, (int)(intptr_t)given);
    r->c = &c;
    if (tls)
        conn_start_tls(&c, tls);
    if (!tls || SSL_accept(c.ssl) > 0)
        while (conn_read_head(&c) && serve_one(r))
            continue;
    conn_close(&c);
    free(r);
    return NULL;
}

static void *accept_all(void *given)
{
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 256 * 1024);
    pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);
    for (;;) {
        pthread_t thread;
        int fd = accept4((int)(intptr_t)given, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0 && pthread_create(&thread, &small, serve, (void *)(intptr_t)fd) != 0)
            close(fd);
    }
    return NULL;
}

static int listen_on(int *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0
        || listen(fd, 1024) < 0 || getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        die("no port to listen on");
    *port = ntohs(address.sin_port);
    return fd;
}

static void read_arguments(int count, char **given)
{
    for (int i = 1; i < count; i++)
        if (strcmp(given[i], "--tls") == 0 && i + 2 < count) {
            tls = tls_context(TLS_server_method());
            if (SSL_CTX_use_certificate_chain_file(tls, given[i + 1]) != 1
                || SSL_CTX_use_PrivateKey_file(tls, given[i + 2], SSL_FILETYPE_PEM) != 1)
                die("the certificate or its key cannot be read");
            i += 2;
        } else if (strcmp(given[i], "--delay-ms") == 0 && i + 1 < count)
            delay_ms = atol(given[++i]);
        else
            die("an argument is not known");
}

int main(int count, char **given)
{
    pthread_t acceptor;
    char nothing[64];
    int port;
    read_arguments(count, given);
    signal(SIGPIPE, SIG_IGN);
    pattern_make();
    int fd = listen_on(&port);
    if (pthread_create(&acceptor, NULL, accept_all, (void *)(intptr_t)fd) != 0)
        die("no thread");
    printf("%d\n", port);
    fflush(stdout);
    while (read(0, nothing, sizeof nothing) > 0)
        continue;
    _exit(0);
}
