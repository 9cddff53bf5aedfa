/*
 * Chance that repeats: with RANDOM_SEED in the environment all that the program draws from the kernel comes from there.
 * Loaded with preload.c.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int seeded;
static uint64_t state;

__attribute__((constructor)) static void begin(void) {
    const char *seed = getenv("RANDOM_SEED");
    if (!seed) return;
    state = strtoull(seed, NULL, 10);
    seeded = 1;
}

/* SplitMix64 (Steele, Lea, Flood 2014). */
static uint64_t next(void) {
    uint64_t z = (state += 0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

ssize_t getrandom(void *buffer, size_t length, unsigned flags) {
    if (!seeded) return syscall(SYS_getrandom, buffer, length, flags);
    pthread_mutex_lock(&lock);
    for (size_t at = 0; at < length; at += sizeof state) {
        uint64_t word = next();
        memcpy((char *)buffer + at, &word, length - at < sizeof word ? length - at : sizeof word);
    }
    pthread_mutex_unlock(&lock);
    return length;
}
