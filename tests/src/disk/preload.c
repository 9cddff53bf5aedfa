/*
 * A disk in the hands of the tests: loaded into an unchanged server by LD_PRELOAD, it stands between the program and
 * libc for every file below one folder.
 *
 * Owns two things: a journal of all that a loss of power could undo (written before the change itself, so that a
 * process killed in between is undone to the same end), faults that a control page orders while the program runs
 * (slow or failing syncs, slow writes, death at the n-th step). The wall clock is in clock.c. It decides nothing:
 * `power.rs` reads the journal. It must not know what the files mean.
 *
 * Environment: DISK_ROOT (the folder), DISK_CONTROL (the control page), DISK_JOURNAL (a folder outside, on the same
 * file system). Without them it does nothing.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "control.h"

/* Records of the journal: this head, then `name` bytes, `other` bytes, `data` bytes. */
enum kind { CREATE = 1, WRITE, TRUNCATE, SYNCED, RENAME, UNLINK, LINK, MKDIR, DIR_SYNCED, SYNC_FAILED };
struct head {
    uint32_t kind, name, other, data;
    uint64_t inode, offset, length, size; /* of WRITE: where, how much, the size of the file before */
};

#define MAX_FDS 65536
#define MAX_ASIDE 65536
static struct { uint64_t inode; char *path; int is_dir; } fds[MAX_FDS];
static struct { uint64_t at; char *path, *dir; } aside[MAX_ASIDE];
static int asides;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *root, *journal_dir;
static size_t root_length;
static int journal = -1;
static struct control nothing;
struct control *control = &nothing;

static void broken(const char *what) {
    dprintf(2, "the disk layer is broken: %s: %s\n", what, strerror(errno));
    abort();
}

__attribute__((constructor)) static void begin(void) {
    const char *page = getenv("DISK_CONTROL");
    root = getenv("DISK_ROOT");
    journal_dir = getenv("DISK_JOURNAL");
    if (!page || !root || !journal_dir) { root = NULL; return; }
    root_length = strlen(root);
    int fd = syscall(SYS_openat, AT_FDCWD, page, O_RDWR | O_CLOEXEC);
    if (fd < 0) broken(page);
    control = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (control == MAP_FAILED) broken(page);
    syscall(SYS_close, fd);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/journal", journal_dir);
    journal = syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
    if (journal < 0) broken(path);
}

/* ---- the journal ---- */

static uint64_t journal_end(void) {
    struct stat st;
    if (fstat(journal, &st)) broken("the journal");
    return st.st_size;
}

static void record(enum kind kind, uint64_t inode, uint64_t offset, uint64_t length, uint64_t size, const char *name,
                   const char *other, const void *data, size_t bytes) {
    struct head head = { kind, name ? strlen(name) : 0, other ? strlen(other) : 0, bytes, inode, offset, length, size };
    struct iovec parts[4] = { { &head, sizeof head }, { (void *)name, head.name }, { (void *)other, head.other },
                              { (void *)data, bytes } };
    ssize_t all = sizeof head + head.name + head.other + bytes;
    if (syscall(SYS_writev, journal, parts, 4) != all) broken("the journal cannot be written");
}

static void pause_us(uint64_t us) {
    struct timespec time = { us / 1000000, us % 1000000 * 1000 };
    if (us) syscall(SYS_nanosleep, &time, NULL);
}

/* Every change to the disk passes here first: the harness may have the power fail at exactly this one. */
static void step(const char *path) {
    __atomic_add_fetch(&control->steps, 1, __ATOMIC_SEQ_CST);
    if (!control->die_in || !strstr(path, (const char *)control->die_path)) return;
    if (__atomic_sub_fetch(&control->die_in, 1, __ATOMIC_SEQ_CST) == 0) {
        syscall(SYS_kill, getpid(), SIGKILL);
        for (;;) syscall(SYS_pause);
    }
}

/* The path made absolute, without doubled slashes, if it lies below the root; else false. */
static int ours(int dir, const char *path, char out[PATH_MAX]) {
    if (!root || !path) return 0;
    char full[2 * PATH_MAX];
    if (path[0] == '/') {
        snprintf(full, sizeof full, "%s", path);
    } else if (dir == AT_FDCWD) {
        char here[PATH_MAX];
        if (!getcwd(here, sizeof here)) return 0;
        snprintf(full, sizeof full, "%s/%s", here, path);
    } else if (dir >= 0 && dir < MAX_FDS && fds[dir].path) {
        snprintf(full, sizeof full, "%s/%s", fds[dir].path, path);
    } else {
        return 0;
    }
    size_t n = 0;
    for (const char *c = full; *c && n < PATH_MAX - 1; c++)
        if (!(*c == '/' && n && out[n - 1] == '/')) out[n++] = *c;
    while (n > 1 && out[n - 1] == '/') n--;
    out[n] = 0;
    return !strncmp(out, root, root_length) && (out[root_length] == '/' || !out[root_length]);
}

static int inode_of(const char *path, struct stat *st) {
    return syscall(SYS_newfstatat, AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Keeps what is about to lose its name, until its folder has been synced: an empty name when there is nothing. */
static void keep_aside(const char *path, char out[PATH_MAX]) {
    static uint64_t number;
    out[0] = 0;
    struct stat st;
    if (!inode_of(path, &st)) return;
    snprintf(out, PATH_MAX, "%s/%d-%lu", journal_dir, getpid(), ++number);
    if (syscall(SYS_linkat, AT_FDCWD, path, AT_FDCWD, out, 0)) broken(out);
    if (asides == MAX_ASIDE) broken("too many files are kept aside");
    char *dir = strdup(path);
    *strrchr(dir, '/') = 0;
    aside[asides].at = journal_end();
    aside[asides].path = strdup(out);
    aside[asides++].dir = dir;
}

/* Forgets what was kept aside of a folder up to a place in the journal: its names are durable. */
static void forget_aside(const char *dir, uint64_t upto) {
    int kept = 0;
    for (int i = 0; i < asides; i++) {
        if (aside[i].at < upto && !strcmp(aside[i].dir, dir)) {
            syscall(SYS_unlinkat, AT_FDCWD, aside[i].path, 0);
            free(aside[i].path);
            free(aside[i].dir);
        } else {
            aside[kept++] = aside[i];
        }
    }
    asides = kept;
}

/* ---- files ---- */

static int tracked(int fd, struct stat *st) {
    if (fd < 0 || fd >= MAX_FDS || !fds[fd].path) return 0;
    return !fstat(fd, st) && st->st_ino == fds[fd].inode;
}

/* Records that `length` bytes at `offset` are about to be written, with what stands there now. */
static void before_write(int fd, const struct stat *st, uint64_t offset, uint64_t length) {
    uint64_t old = offset < (uint64_t)st->st_size ? (uint64_t)st->st_size - offset : 0;
    if (old > length) old = length;
    void *bytes = old ? malloc(old) : NULL;
    int reader = fd;
    if (old) {
        /* The program may have opened it for writing only. */
        char self[64];
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        reader = syscall(SYS_openat, AT_FDCWD, self, O_RDONLY | O_CLOEXEC);
        if (reader < 0 || syscall(SYS_pread64, reader, bytes, old, offset) != (ssize_t)old) broken(fds[fd].path);
        syscall(SYS_close, reader);
    }
    record(WRITE, st->st_ino, offset, length, st->st_size, fds[fd].path, NULL, bytes, old);
    free(bytes);
}

static ssize_t do_write(int fd, const struct iovec *parts, int count, off_t offset, int positioned) {
    struct stat st;
    if (!tracked(fd, &st))
        return positioned ? syscall(SYS_pwritev, fd, parts, count, offset, 0) : syscall(SYS_writev, fd, parts, count);
    pause_us(control->write_delay_us);
    step(fds[fd].path);
    pthread_mutex_lock(&lock);
    fstat(fd, &st);
    uint64_t length = 0;
    for (int i = 0; i < count; i++) length += parts[i].iov_len;
    off_t at = offset;
    if (!positioned)
        at = fcntl(fd, F_GETFL) & O_APPEND ? st.st_size : syscall(SYS_lseek, fd, 0, SEEK_CUR);
    before_write(fd, &st, at, length);
    ssize_t done = positioned ? syscall(SYS_pwritev, fd, parts, count, offset, 0) : syscall(SYS_writev, fd, parts, count);
    int error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

ssize_t write(int fd, const void *data, size_t length) {
    if (fd < 0 || fd >= MAX_FDS || !fds[fd].path) return syscall(SYS_write, fd, data, length);
    struct iovec part = { (void *)data, length };
    return do_write(fd, &part, 1, 0, 0);
}
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return do_write(fd, parts, count, 0, 0);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t offset) {
    struct iovec part = { (void *)data, length };
    return do_write(fd, &part, 1, offset, 1);
}
ssize_t pwrite64(int fd, const void *data, size_t length, off64_t offset) { return pwrite(fd, data, length, offset); }
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t offset) {
    return do_write(fd, parts, count, offset, 1);
}
ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t offset) {
    return do_write(fd, parts, count, offset, 1);
}

static void before_truncate(uint64_t inode, const char *path, uint64_t size, uint64_t length) {
    uint64_t lost = length < size ? size - length : 0;
    char *bytes = lost ? malloc(lost) : NULL;
    if (lost) {
        int fd = syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 || syscall(SYS_pread64, fd, bytes, lost, length) != (ssize_t)lost) broken(path);
        syscall(SYS_close, fd);
    }
    record(TRUNCATE, inode, length, 0, size, path, NULL, bytes, lost);
    free(bytes);
}

int ftruncate(int fd, off_t length) {
    struct stat st;
    int is_ours = tracked(fd, &st);
    if (is_ours) {
        step(fds[fd].path);
        pthread_mutex_lock(&lock);
        fstat(fd, &st);
        char self[64];
        snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
        if (length != st.st_size) before_truncate(st.st_ino, self, st.st_size, length);
    }
    int done = syscall(SYS_ftruncate, fd, length), error = errno;
    if (is_ours) pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int ftruncate64(int fd, off64_t length) { return ftruncate(fd, length); }

/* Space reserved behind the end changes nothing that can be read; a reservation that lengthens the file does. */
int fallocate(int fd, int mode, off_t offset, off_t length) {
    struct stat st;
    int is_ours = tracked(fd, &st);
    if (is_ours) {
        pthread_mutex_lock(&lock);
        fstat(fd, &st);
        if (!(mode & FALLOC_FL_KEEP_SIZE) && offset + length > st.st_size)
            record(TRUNCATE, st.st_ino, offset + length, 0, st.st_size, fds[fd].path, NULL, NULL, 0);
    }
    int done = syscall(SYS_fallocate, fd, mode, offset, length), error = errno;
    if (is_ours) pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int fallocate64(int fd, int mode, off64_t offset, off64_t length) { return fallocate(fd, mode, offset, length); }

/* ---- syncs ---- */

static int do_sync(int fd, long call) {
    struct stat st;
    if (!tracked(fd, &st)) return syscall(call, fd);
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s", fds[fd].path);
    int is_dir = fds[fd].is_dir;
    pause_us(control->sync_delay_us);
    step(path);
    __atomic_add_fetch(&control->syncs, 1, __ATOMIC_SEQ_CST);
    pthread_mutex_lock(&lock);
    uint64_t upto = journal_end();
    pthread_mutex_unlock(&lock);
    int fails = control->fail_syncs != 0;
    int done = fails ? -1 : syscall(call, fd), error = fails ? EIO : errno;
    pthread_mutex_lock(&lock);
    if (done) {
        __atomic_add_fetch(&control->failed_syncs, 1, __ATOMIC_SEQ_CST);
        if (!is_dir) record(SYNC_FAILED, st.st_ino, upto, 0, 0, path, NULL, NULL, 0);
    } else {
        record(is_dir ? DIR_SYNCED : SYNCED, st.st_ino, upto, 0, 0, path, NULL, NULL, 0);
        if (is_dir) forget_aside(path, upto);
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int fsync(int fd) { return do_sync(fd, SYS_fsync); }
int fdatasync(int fd) { return do_sync(fd, SYS_fdatasync); }

/* ---- names ---- */

static int do_open(int dir, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    if (!ours(dir, path, full)) {
        int fd = syscall(SYS_openat, dir, path, flags, mode);
        if (fd >= 0 && fd < MAX_FDS) fds[fd].path = NULL;
        return fd;
    }
    struct stat st;
    pthread_mutex_lock(&lock);
    int is_new = !inode_of(full, &st);
    if (is_new && flags & O_CREAT) {
        pthread_mutex_unlock(&lock);
        step(full);
        pthread_mutex_lock(&lock);
        is_new = !inode_of(full, &st);
    }
    if (!is_new && flags & O_TRUNC && st.st_size > 0) before_truncate(st.st_ino, full, st.st_size, 0);
    int fd = syscall(SYS_openat, dir, path, flags, mode), error = errno;
    if (fd >= 0) {
        if (fd >= MAX_FDS) broken("a file descriptor beyond the table");
        fstat(fd, &st);
        if (is_new && flags & O_CREAT) record(CREATE, st.st_ino, 0, 0, 0, full, NULL, NULL, 0);
        fds[fd].inode = st.st_ino;
        fds[fd].is_dir = S_ISDIR(st.st_mode);
        fds[fd].path = strdup(full); /* never freed: another thread may be using it */
    }
    pthread_mutex_unlock(&lock);
    errno = error;
    return fd;
}

#define OPEN(name, first, dir)                                                                                        \
    int name first {                                                                                                  \
        mode_t mode = 0;                                                                                              \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                          \
            va_list rest;                                                                                             \
            va_start(rest, flags);                                                                                    \
            mode = va_arg(rest, mode_t);                                                                              \
            va_end(rest);                                                                                             \
        }                                                                                                             \
        return do_open(dir, path, flags, mode);                                                                       \
    }
OPEN(open, (const char *path, int flags, ...), AT_FDCWD)
OPEN(open64, (const char *path, int flags, ...), AT_FDCWD)
OPEN(openat, (int at, const char *path, int flags, ...), at)
OPEN(openat64, (int at, const char *path, int flags, ...), at)

int close(int fd) {
    if (fd >= 0 && fd < MAX_FDS) fds[fd].path = NULL;
    return syscall(SYS_close, fd);
}

int rename(const char *from, const char *to) {
    char a[PATH_MAX], b[PATH_MAX], kept[PATH_MAX];
    if (!ours(AT_FDCWD, from, a) || !ours(AT_FDCWD, to, b)) return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    step(b);
    pthread_mutex_lock(&lock);
    struct stat st;
    if (inode_of(a, &st)) {
        keep_aside(b, kept);
        /* The name of what is replaced goes as data. */
        record(RENAME, st.st_ino, 0, 0, 0, a, b, kept, strlen(kept));
    }
    int done = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}

static int do_unlink(int dir, const char *path, int flags) {
    char full[PATH_MAX], kept[PATH_MAX];
    struct stat st;
    if (flags & AT_REMOVEDIR || !ours(dir, path, full)) return syscall(SYS_unlinkat, dir, path, flags);
    step(full);
    pthread_mutex_lock(&lock);
    if (inode_of(full, &st) && S_ISREG(st.st_mode)) {
        keep_aside(full, kept);
        record(UNLINK, st.st_ino, 0, 0, 0, full, kept, NULL, 0);
    }
    int done = syscall(SYS_unlinkat, dir, path, flags), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
int unlink(const char *path) { return do_unlink(AT_FDCWD, path, 0); }
int unlinkat(int dir, const char *path, int flags) { return do_unlink(dir, path, flags); }

int link(const char *from, const char *to) {
    char a[PATH_MAX], b[PATH_MAX];
    struct stat st;
    if (ours(AT_FDCWD, from, a) && ours(AT_FDCWD, to, b) && inode_of(a, &st)) {
        step(b);
        pthread_mutex_lock(&lock);
        record(LINK, st.st_ino, 0, 0, 0, b, NULL, NULL, 0);
        pthread_mutex_unlock(&lock);
    }
    return syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int mkdir(const char *path, mode_t mode) {
    char full[PATH_MAX];
    struct stat st;
    int is_ours = ours(AT_FDCWD, path, full) && strcmp(full, root);
    if (is_ours) step(full);
    pthread_mutex_lock(&lock);
    if (is_ours && !inode_of(full, &st)) record(MKDIR, 0, 0, 0, 0, full, NULL, NULL, 0);
    int done = syscall(SYS_mkdirat, AT_FDCWD, path, mode), error = errno;
    pthread_mutex_unlock(&lock);
    errno = error;
    return done;
}
