/*
 * The wall clock that the program sees: the true one and the offset of the control page. Loaded with preload.c. The
 * monotonic clock stays as it is: no jump of a wall clock moves it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "control.h"

static int (*real_clock_gettime)(clockid_t, struct timespec *);
static int (*real_timedwait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
static int (*real_clockwait)(pthread_cond_t *, pthread_mutex_t *, clockid_t, const struct timespec *);

__attribute__((constructor)) static void find(void) {
    real_clock_gettime = dlsym(RTLD_NEXT, "clock_gettime");
    real_timedwait = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
    real_clockwait = dlsym(RTLD_NEXT, "pthread_cond_clockwait");
}


static void shift(struct timespec *time, int64_t ms) {
    int64_t nanos = time->tv_nsec + ms % 1000 * 1000000;
    time->tv_sec += ms / 1000;
    if (nanos < 0) { nanos += 1000000000; time->tv_sec--; }
    if (nanos >= 1000000000) { nanos -= 1000000000; time->tv_sec++; }
    time->tv_nsec = nanos;
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    int done = real_clock_gettime ? real_clock_gettime(clock, time) : (int)syscall(SYS_clock_gettime, clock, time);
    if (!done && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) shift(time, control->clock_offset_ms);
    return done;
}
int gettimeofday(struct timeval *restrict out, void *restrict zone) {
    (void)zone;
    struct timespec time;
    clock_gettime(CLOCK_REALTIME, &time);
    out->tv_sec = time.tv_sec;
    out->tv_usec = time.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *out) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (out) *out = now.tv_sec;
    return now.tv_sec;
}

/* Who waits until a time of the shifted clock waits in the kernel by the true one. */
int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex, const struct timespec *until) {
    struct timespec true_time = *until;
    shift(&true_time, -control->clock_offset_ms);
    return real_timedwait(condition, mutex, &true_time);
}
int pthread_cond_clockwait(pthread_cond_t *condition, pthread_mutex_t *mutex, clockid_t clock, const struct timespec *until) {
    struct timespec true_time = *until;
    if (clock == CLOCK_REALTIME) shift(&true_time, -control->clock_offset_ms);
    return real_clockwait(condition, mutex, clock, &true_time);
}
