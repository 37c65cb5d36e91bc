/* The content of all source objects, which is made up: one block of 1 MiB, again and again. */

#ifndef BENCH_CONTENT_H
#define BENCH_CONTENT_H

#include "tables.h"

#include <openssl/evp.h>
#include <pthread.h>

/* The block twice, so that a MiB can be taken at any place of it. */
static char pattern[2 * MIB];

static inline void pattern_make(void)
{
    uint64_t state = 88172645463325252ull;
    for (size_t i = 0; i < MIB; i += 8) {
        state ^= state << 13, state ^= state >> 7, state ^= state << 17;
        memcpy(pattern + i, &state, 8);
    }
    memcpy(pattern + MIB, pattern, MIB);
}

static inline void md5_of_bytes(const char *data, size_t length, unsigned char digest[16])
{
    EVP_Digest(data, length, digest, NULL, EVP_md5(), NULL);
}

static inline void md5_text(const unsigned char digest[16], char text[33])
{
    for (int i = 0; i < 16; i++)
        snprintf(text + 2 * i, 3, "%02x", digest[i]);
}

/* Give the MD5 of so many bytes of content; each size is computed once. */
static inline void md5_of_size(uint64_t size, unsigned char digest[16])
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static struct { uint64_t size; unsigned char digest[16]; } known[512];
    static int count;
    int i = 0;
    pthread_mutex_lock(&lock);
    while (i < count && known[i].size != size)
        i++;
    if (i == count) {
        EVP_MD_CTX *md5 = need(EVP_MD_CTX_new());
        i = count < 511 ? count++ : 511;
        known[i].size = size;
        EVP_DigestInit_ex(md5, EVP_md5(), NULL);
        for (uint64_t left = size; left > 0;) {
            size_t some = left < MIB ? left : MIB;
            EVP_DigestUpdate(md5, pattern, some);
            left -= some;
        }
        EVP_DigestFinal_ex(md5, known[i].digest, NULL);
        EVP_MD_CTX_free(md5);
    }
    memcpy(digest, known[i].digest, 16);
    pthread_mutex_unlock(&lock);
}

/* Give the CRC64NVME as its header has it; for small bodies only, as it goes byte by byte. */
static inline void crc64nvme_text(const char *data, size_t length, char text[16])
{
    uint64_t crc = ~0ull;
    unsigned char bytes[8];
    for (size_t i = 0; i < length; i++) {
        crc ^= (unsigned char)data[i];
        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x9a6c9329ac4bc9b5ull : 0);
    }
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)(~crc >> (56 - 8 * i));
    EVP_EncodeBlock((unsigned char *)text, bytes, 8);
}

/* Give the ETag of an object made of parts with these MD5s. */
static inline void etag_of_parts(const unsigned char *digests, size_t count, char etag[48])
{
    unsigned char digest[16];
    md5_of_bytes((const char *)digests, 16 * count, digest);
    md5_text(digest, etag);
    snprintf(etag + 32, 16, "-%zu", count);
}

/* An object of the source; part_size where it was made of parts. */
struct made_up {
    uint64_t size, part_size;
    char etag[48];
};

static inline int source_big(const char *key, struct made_up *found)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static unsigned last_count, last_mib;
    static char last_etag[48];
    unsigned count, mib;
    int end = 0;
    if (sscanf(key, "big/%ux%u/object%n", &count, &mib, &end) != 2 || !end || key[end])
        return 0;
    if (count < 1 || count > 10000 || mib < 1)
        return 0;
    found->part_size = (uint64_t)mib * MIB;
    found->size = count * found->part_size;
    pthread_mutex_lock(&lock);
    if (last_count != count || last_mib != mib) {
        unsigned char *digests = need(malloc(16 * (size_t)count));
        md5_of_size(found->part_size, digests);
        for (size_t i = 1; i < count; i++)
            memcpy(digests + 16 * i, digests, 16);
        etag_of_parts(digests, count, last_etag);
        free(digests);
        last_count = count, last_mib = mib;
    }
    memcpy(found->etag, last_etag, sizeof last_etag);
    pthread_mutex_unlock(&lock);
    return 1;
}

/* Tell what stands behind a key of the source; 0 if nothing does. */
static inline int source_object(const char *key, struct made_up *found)
{
    unsigned long long size, count, index;
    unsigned char digest[16];
    int end = 0;
    memset(found, 0, sizeof *found);
    if (source_big(key, found))
        return 1;
    if (sscanf(key, "objects/%llu/%llu/%8llu%n", &size, &count, &index, &end) != 3 || key[end])
        return 0;
    if (index >= count)
        return 0;
    found->size = size;
    md5_of_size(size, digest);
    md5_text(digest, found->etag);
    return 1;
}

#endif
