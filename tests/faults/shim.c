/* Preloaded into a server by the tests. Counts the calls that write below one folder and lets one of them fail, or ends
 * the process there as kill -9 would; moves the wall clock. Steered while the server runs, by a file that both have
 * mapped (see shim.py, which knows the same layout).
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

struct control {
    _Atomic long calls;     /* so far */
    _Atomic long countdown; /* until one fails; 0: none */
    _Atomic long error;     /* how it fails: an errno, or 0 for SIGKILL */
    _Atomic long lasting;   /* whether all calls behind it fail, too */
    _Atomic long fired;     /* calls that failed */
    _Atomic long clock_s;   /* added to the wall clock */
};

static struct control idle, *control = &idle;
static char folder[4096];
static size_t folder_length;

__attribute__((constructor)) static void begin(void)
{
    const char *path = getenv("FAULTS_CONTROL"), *below = getenv("FAULTS_FOLDER");
    int fd = path && below ? open(path, O_RDWR | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    void *mapped = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (mapped == MAP_FAILED)
        return;
    folder_length = strlen(strncpy(folder, below, sizeof folder - 1));
    control = mapped;
}

static int is_below(const char *path)
{
    return folder_length && strncmp(path, folder, folder_length) == 0 && path[folder_length] == '/';
}

/* Whether this call is to fail; errno is set then. */
static int fails(void)
{
    atomic_fetch_add(&control->calls, 1);
    long left = atomic_load(&control->countdown);
    while (left > 0) {
        long next = left == 1 && atomic_load(&control->lasting) ? 1 : left - 1;
        if (!atomic_compare_exchange_weak(&control->countdown, &left, next))
            continue;
        if (left > 1)
            return 0;
        atomic_fetch_add(&control->fired, 1);
        if (!atomic_load(&control->error))
            kill(getpid(), SIGKILL);
        errno = (int)atomic_load(&control->error);
        return 1;
    }
    return 0;
}

static int path_fails(const char *path)
{
    return is_below(path) && fails();
}

static int file_fails(int fd)
{
    char link[32], path[4096];
    if (!folder_length)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0)
        return 0;
    path[length] = 0;
    return path_fails(path);
}

#define REAL(type, name, ...)                                 \
    static type (*real)(__VA_ARGS__);                         \
    if (!real)                                                \
    real = (type(*)(__VA_ARGS__))dlsym(RTLD_NEXT, #name)

ssize_t write(int fd, const void *data, size_t size)
{
    REAL(ssize_t, write, int, const void *, size_t);
    return file_fails(fd) ? -1 : real(fd, data, size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t at)
{
    REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
    return file_fails(fd) ? -1 : real(fd, data, size, at);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at)
{
    REAL(ssize_t, pwrite64, int, const void *, size_t, off64_t);
    return file_fails(fd) ? -1 : real(fd, data, size, at);
}

int fsync(int fd)
{
    REAL(int, fsync, int);
    return file_fails(fd) ? -1 : real(fd);
}

int fdatasync(int fd)
{
    REAL(int, fdatasync, int);
    return file_fails(fd) ? -1 : real(fd);
}

int ftruncate(int fd, off_t size)
{
    REAL(int, ftruncate, int, off_t);
    return file_fails(fd) ? -1 : real(fd, size);
}

int ftruncate64(int fd, off64_t size)
{
    REAL(int, ftruncate64, int, off64_t);
    return file_fails(fd) ? -1 : real(fd, size);
}

int rename(const char *from, const char *to)
{
    REAL(int, rename, const char *, const char *);
    return path_fails(to) ? -1 : real(from, to);
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    REAL(int, clock_gettime, clockid_t, struct timespec *);
    int result = real(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += atomic_load(&control->clock_s);
    return result;
}

int gettimeofday(struct timeval *now, void *zone)
{
    REAL(int, gettimeofday, struct timeval *, void *);
    int result = real(now, zone);
    if (result == 0)
        now->tv_sec += atomic_load(&control->clock_s);
    return result;
}

time_t time(time_t *out)
{
    REAL(time_t, time, time_t *);
    time_t now = real(NULL) + atomic_load(&control->clock_s);
    if (out)
        *out = now;
    return now;
}
