/*
 * The floor under what a copy costs: ranges are read and sent on as parts, and nothing else is done.
 *
 * relay --source HOST:PORT --target HOST:PORT [--tls CAFILE] --key K --size BYTES --part BYTES
 *       --threads N
 * relay ... --key PREFIX --size BYTES --objects N --threads N
 *
 * Copies /source/K to /target/K in parts, or whole objects of this size, whose names are the prefix
 * and eight digits. No request is signed, no checksum is made; each thread keeps one connection to
 * each side. It prints nothing but errors.
 */

#include "http.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

struct address {
    char host[64];
    int port;
};

static struct address source, target;
static SSL_CTX *tls;
static const char *key;
static uint64_t size, part_size;
static unsigned long objects;
static char upload_id[256];
static char (*etags)[64];
static atomic_ulong next_one;

static unsigned long part_count(void)
{
    return (unsigned long)((size + part_size - 1) / part_size);
}

static struct address address_of(const char *text)
{
    struct address found = {0};
    if (sscanf(text, "%63[^:]:%d", found.host, &found.port) != 2)
        die("an address is HOST:PORT");
    return found;
}

static void dial(struct conn *c, const struct address *where)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)where->port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (inet_pton(AF_INET, where->host, &address.sin_addr) != 1)
        die("the host is no IPv4 address");
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        die("no connection");
    conn_open(c, fd);
    if (!tls)
        return;
    conn_start_tls(c, tls);
    X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(c->ssl), where->host);
    if (SSL_connect(c->ssl) <= 0)
        die("the TLS handshake failed");
}

/* Read an answer's head, check its status, and return the length of its body. */
static uint64_t answered(struct conn *c, const char *status)
{
    char length[32];
    if (!conn_read_head(c))
        die("no answer");
    if (strncmp(c->head + 9, status, 3) != 0)
        die(c->head);
    return header_of(c->head, "Content-Length", length, sizeof length) ? strtoull(length, NULL, 10)
                                                                       : 0;
}

/* Read a short body as text. */
static void body_of(struct conn *c, uint64_t length, char *text, size_t room)
{
    size_t filled = 0;
    while (length > 0) {
        if (c->start == c->end && !conn_fill(c))
            die("the answer's body ended early");
        size_t some = c->end - c->start < length ? c->end - c->start : length;
        size_t kept = filled + some < room ? some : room - 1 - filled;
        memcpy(text + filled, c->in + c->start, kept);
        filled += kept;
        c->start += some;
        length -= some;
    }
    text[filled] = 0;
}

static void relay_body(struct conn *from, struct conn *to, uint64_t length)
{
    while (length > 0) {
        if (from->start == from->end && !conn_fill(from))
            die("the source's body ended early");
        size_t some = from->end - from->start < length ? from->end - from->start : length;
        length -= some;
        if (!conn_write(to, from->in + from->start, some, length == 0))
            die("the target took no more");
        from->start += some;
    }
}

static void copy_part(struct conn *from, struct conn *to, unsigned long index)
{
    char head[2048], nothing[16];
    uint64_t first = index * part_size;
    uint64_t length = size - first < part_size ? size - first : part_size;
    int n = snprintf(head, sizeof head,
                     "GET /source/%s HTTP/1.1\r\nHost: %s:%d\r\nRange: bytes=%llu-%llu\r\n\r\n", key,
                     source.host, source.port, (unsigned long long)first,
                     (unsigned long long)(first + length - 1));
    if (!conn_write(from, head, (size_t)n, 1) || answered(from, "206") != length)
        die("the source did not answer with the range");
    n = snprintf(head, sizeof head,
                 "PUT /target/%s?partNumber=%lu&uploadId=%s HTTP/1.1\r\nHost: %s:%d\r\n"
                 "Content-Length: %llu\r\n\r\n",
                 key, index + 1, upload_id, target.host, target.port, (unsigned long long)length);
    if (!conn_write(to, head, (size_t)n, 0))
        die("the target took no part");
    relay_body(from, to, length);
    body_of(to, answered(to, "200"), nothing, sizeof nothing);
    if (!header_of(to->head, "ETag", etags[index], sizeof etags[index]))
        die("a part has no ETag");
}

static void copy_object(struct conn *from, struct conn *to, unsigned long index)
{
    char head[2048], nothing[16];
    int n = snprintf(head, sizeof head, "GET /source/%s%08lu HTTP/1.1\r\nHost: %s:%d\r\n\r\n", key,
                     index, source.host, source.port);
    if (!conn_write(from, head, (size_t)n, 1) || answered(from, "200") != size)
        die("the source did not answer with the object");
    n = snprintf(head, sizeof head,
                 "PUT /target/%s%08lu HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: %llu\r\n\r\n", key,
                 index, target.host, target.port, (unsigned long long)size);
    if (!conn_write(to, head, (size_t)n, 0))
        die("the target took no object");
    relay_body(from, to, size);
    body_of(to, answered(to, "200"), nothing, sizeof nothing);
}

static void *work(void *unused)
{
    struct conn from, to;
    unsigned long index;
    (void)unused;
    dial(&from, &source);
    dial(&to, &target);
    while ((index = atomic_fetch_add(&next_one, 1)) < (objects ? objects : part_count()))
        (objects ? copy_object : copy_part)(&from, &to, index);
    conn_close(&from);
    conn_close(&to);
    return NULL;
}

static void create(struct conn *c)
{
    char text[4096], *found;
    int n = snprintf(text, sizeof text,
                     "POST /target/%s?uploads HTTP/1.1\r\nHost: %s:%d\r\nContent-Length: 0\r\n\r\n",
                     key, target.host, target.port);
    if (!conn_write(c, text, (size_t)n, 1))
        die("the target took no upload");
    body_of(c, answered(c, "200"), text, sizeof text);
    found = strstr(text, "<UploadId>");
    if (!found || sscanf(found, "<UploadId>%255[^<]", upload_id) != 1)
        die("the answer names no upload");
}

static void complete(struct conn *c)
{
    char text[4096];
    size_t room = part_count() * 160 + 256, filled;
    char *body = need(malloc(room));
    filled = (size_t)snprintf(body, room, "<CompleteMultipartUpload>");
    for (unsigned long i = 0; i < part_count(); i++)
        filled += (size_t)snprintf(body + filled, room - filled,
                                   "<Part><PartNumber>%lu</PartNumber><ETag>%s</ETag></Part>",
                                   i + 1, etags[i]);
    filled += (size_t)snprintf(body + filled, room - filled, "</CompleteMultipartUpload>");
    int n = snprintf(text, sizeof text,
                     "POST /target/%s?uploadId=%s HTTP/1.1\r\nHost: %s:%d\r\n"
                     "Content-Length: %zu\r\n\r\n",
                     key, upload_id, target.host, target.port, filled);
    if (!conn_write(c, text, (size_t)n, 0) || !conn_write(c, body, filled, 1))
        die("the target took no end");
    body_of(c, answered(c, "200"), text, sizeof text);
    if (!strstr(text, "CompleteMultipartUploadResult"))
        die("the upload was not completed");
    free(body);
}

static SSL_CTX *trusting(const char *ca_file)
{
    SSL_CTX *context = tls_context(TLS_client_method());
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    if (SSL_CTX_load_verify_locations(context, ca_file, NULL) != 1)
        die("the CA file cannot be read");
    return context;
}

static int read_arguments(int count, char **given)
{
    int threads = 1;
    for (int i = 1; i + 1 < count; i += 2) {
        const char *name = given[i], *value = given[i + 1];
        if (strcmp(name, "--source") == 0)
            source = address_of(value);
        else if (strcmp(name, "--target") == 0)
            target = address_of(value);
        else if (strcmp(name, "--tls") == 0)
            tls = trusting(value);
        else if (strcmp(name, "--key") == 0)
            key = value;
        else if (strcmp(name, "--size") == 0)
            size = strtoull(value, NULL, 10);
        else if (strcmp(name, "--part") == 0)
            part_size = strtoull(value, NULL, 10);
        else if (strcmp(name, "--objects") == 0)
            objects = strtoul(value, NULL, 10);
        else if (strcmp(name, "--threads") == 0)
            threads = atoi(value);
        else
            die("an argument is not known");
    }
    if (!source.port || !target.port || !key || !size || !part_size == !objects || threads < 1)
        die("an argument is missing");
    return threads;
}

int main(int count, char **given)
{
    struct conn control;
    signal(SIGPIPE, SIG_IGN);
    int threads = read_arguments(count, given);
    pthread_t *started = need(calloc((size_t)threads, sizeof *started));
    if (!objects) {
        etags = need(calloc(part_count(), sizeof *etags));
        dial(&control, &target);
        create(&control);
    }
    for (int i = 0; i < threads; i++)
        if (pthread_create(&started[i], NULL, work, NULL) != 0)
            die("no thread");
    for (int i = 0; i < threads; i++)
        pthread_join(started[i], NULL);
    if (!objects) {
        complete(&control);
        conn_close(&control);
    }
    return 0;
}
