/* What both programs know of HTTP/1.1 and TLS: a connection with a big buffer, and its heads. */

#ifndef BENCH_HTTP_H
#define BENCH_HTTP_H

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define MIB (1024 * 1024)
#define PIECE (256 * 1024)
#define HEAD_MAX (64 * 1024)
/* The cipher of most S3 services; both sides of every program shall pay for the same one. */
#define SUITES "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256"

static inline void die(const char *what)
{
    fprintf(stderr, "error: %s\n", what);
    exit(1);
}

static inline void *need(void *memory)
{
    if (!memory)
        die("no memory");
    return memory;
}

/* A connection. What has come and was not taken yet is in[start:end]. */
struct conn {
    int fd;
    SSL *ssl;
    BIO *buffered;
    size_t start, end;
    char *head;
    char *in;
};

static inline void conn_open(struct conn *c, int fd)
{
    int on = 1;
    memset(c, 0, sizeof *c);
    c->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    c->head = need(malloc(HEAD_MAX + 1));
    c->in = need(malloc(PIECE));
}

/* OpenSSL writes each record by a call of its own; a buffer between makes few calls of many. */
static inline void conn_start_tls(struct conn *c, SSL_CTX *context)
{
    BIO *out = BIO_new_socket(c->fd, BIO_NOCLOSE);
    c->ssl = need(SSL_new(context));
    c->buffered = need(BIO_new(BIO_f_buffer()));
    BIO_set_write_buffer_size(c->buffered, PIECE);
    SSL_set_bio(c->ssl, BIO_new_socket(c->fd, BIO_NOCLOSE), BIO_push(c->buffered, need(out)));
}

static inline void conn_close(struct conn *c)
{
    SSL_free(c->ssl);
    close(c->fd);
    free(c->head);
    free(c->in);
    memset(c, 0, sizeof *c);
    c->fd = -1;
}

/* Both sides of TLS: read many records by one call, and answer nothing to a renegotiation. */
static inline SSL_CTX *tls_context(const SSL_METHOD *method)
{
    SSL_CTX *context = need(SSL_CTX_new(method));
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_ciphersuites(context, SUITES);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE
                                     | SSL_OP_IGNORE_UNEXPECTED_EOF);
    SSL_CTX_set_mode(context, SSL_MODE_AUTO_RETRY);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, PIECE);
    return context;
}

/* Read what there is behind what is there already; 0 at the end, and after an error. */
static inline size_t conn_fill(struct conn *c)
{
    ssize_t got;
    if (c->start == c->end)
        c->start = c->end = 0;
    else if (c->end == PIECE) {
        memmove(c->in, c->in + c->start, c->end - c->start);
        c->end -= c->start;
        c->start = 0;
    }
    if (c->end == PIECE)
        return 0;
    if (c->ssl)
        got = SSL_read(c->ssl, c->in + c->end, (int)(PIECE - c->end));
    else
        do
            got = recv(c->fd, c->in + c->end, PIECE - c->end, 0);
        while (got < 0 && errno == EINTR);
    if (got <= 0)
        return 0;
    c->end += (size_t)got;
    return (size_t)got;
}

/* Write all pieces; flush with the last of them. Return whether it went. */
static inline int conn_writev(struct conn *c, struct iovec *pieces, int count, int flush)
{
    if (c->ssl) {
        for (int i = 0; i < count; i++)
            if (pieces[i].iov_len
                && SSL_write(c->ssl, pieces[i].iov_base, (int)pieces[i].iov_len) <= 0)
                return 0;
        return !flush || BIO_flush(c->buffered) > 0;
    }
    while (count > 0) {
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = (size_t)count};
        ssize_t sent = sendmsg(c->fd, &message, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0)
            return 0;
        while (count > 0 && (size_t)sent >= pieces->iov_len) {
            sent -= (ssize_t)pieces->iov_len;
            pieces++, count--;
        }
        if (count > 0) {
            pieces->iov_base = (char *)pieces->iov_base + sent;
            pieces->iov_len -= (size_t)sent;
        }
    }
    return 1;
}

static inline int conn_write(struct conn *c, const char *data, size_t length, int flush)
{
    struct iovec piece = {.iov_base = (char *)data, .iov_len = length};
    return conn_writev(c, &piece, 1, flush);
}

/* Read a request's or an answer's head into c->head, without its last line's end. */
static inline int conn_read_head(struct conn *c)
{
    size_t looked = 0;
    for (;;) {
        size_t have = c->end - c->start;
        char *data = c->in + c->start;
        char *found = have < 4 ? NULL : memmem(data + looked, have - looked, "\r\n\r\n", 4);
        if (found) {
            size_t length = (size_t)(found - data) + 2;
            if (length > HEAD_MAX)
                return 0;
            memcpy(c->head, data, length);
            c->head[length] = 0;
            c->start += length + 2;
            return 1;
        }
        looked = have > 3 ? have - 3 : 0;
        if (!conn_fill(c))
            return 0;
    }
}

/* Find a header; its value ends at the line's end. */
static inline const char *header_at(const char *head, const char *name, size_t *length)
{
    size_t wanted = strlen(name);
    for (const char *line = strchr(head, '\n'); line && line[1]; line = strchr(line, '\n')) {
        line++;
        if (strncasecmp(line, name, wanted) == 0 && line[wanted] == ':') {
            const char *value = line + wanted + 1;
            while (*value == ' ' || *value == '\t')
                value++;
            *length = strcspn(value, "\r\n");
            return value;
        }
    }
    return NULL;
}

/* Copy a header's value, cut at the room there is; return whether the header is there. */
static inline int header_of(const char *head, const char *name, char *value, size_t room)
{
    size_t length;
    const char *found = header_at(head, name, &length);
    value[0] = 0;
    if (!found)
        return 0;
    if (length >= room)
        length = room - 1;
    memcpy(value, found, length);
    value[length] = 0;
    return 1;
}

#endif
