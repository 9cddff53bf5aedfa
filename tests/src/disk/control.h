/* The page by which the harness orders faults while the program runs. */
#pragma once
#include <stdint.h>

/* As control.rs writes it. All words are of 8 bytes. */
struct control {
    volatile uint64_t sync_delay_us;
    volatile uint64_t write_delay_us;
    volatile uint64_t fail_syncs;      /* not 0: every sync fails with EIO */
    volatile int64_t clock_offset_ms;
    volatile uint64_t die_in;          /* n > 0: SIGKILL before the n-th step from now */
    volatile uint64_t steps;           /* counted for the harness */
    volatile uint64_t syncs;
    volatile uint64_t failed_syncs;
    volatile char die_path[64];        /* counts only steps on paths with this in them */
};

/* Never NULL: a page of zeros until the harness's one is mapped. */
extern struct control *control;
