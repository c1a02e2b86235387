/* A library to preload: the system refuses the REFUSE_AT-th call that would change a file under the folder
   REFUSE_UNDER, with the error REFUSE_ERRNO, and with REFUSE_EVER every one after it. With REFUSE_SHORT the refused
   write has taken half of its bytes just before. REFUSE_COUNT names a file that tells how many calls there were. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

static int calls, halved;

static int number(const char *name) {
    const char *text = getenv(name);
    return text ? atoi(text) : 0;
}

static int under(const char *path) {
    const char *folder = getenv("REFUSE_UNDER");
    return folder && *folder && !strncmp(path, folder, strlen(folder));
}

static int open_under(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    return under(path);
}

/* Whether this call is refused; 2 where half of it is to be done first. */
static int refused(int writes) {
    int call = __sync_add_and_fetch(&calls, 1), at = number("REFUSE_AT");
    const char *count = getenv("REFUSE_COUNT");
    if (count) {
        char text[16];
        int length = snprintf(text, sizeof text, "%d", call);
        int fd = open(count, O_WRONLY | O_CREAT, 0644);
        syscall(SYS_pwrite64, fd, text, length, 0);
        close(fd);
    }
    if (!at || call < at || (call > at && !number("REFUSE_EVER") && !(halved && call == at + 1))) return 0;
    errno = number("REFUSE_ERRNO");
    if (call == at && writes && number("REFUSE_SHORT")) return halved = 2;
    return 1;
}

#define REAL(name) (*(typeof(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int fd, const void *data, size_t size) {
    int no = open_under(fd) ? refused(size > 1) : 0;
    return no == 1 ? -1 : REAL(write)(fd, data, no ? size / 2 : size);
}

ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    int no = open_under(fd) ? refused(size > 1) : 0;
    return no == 1 ? -1 : REAL(pwrite)(fd, data, no ? size / 2 : size, offset);
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset) {
    int no = open_under(fd) ? refused(size > 1) : 0;
    return no == 1 ? -1 : REAL(pwrite64)(fd, data, no ? size / 2 : size, offset);
}

int fsync(int fd) { return open_under(fd) && refused(0) ? -1 : REAL(fsync)(fd); }

int fdatasync(int fd) { return open_under(fd) && refused(0) ? -1 : REAL(fdatasync)(fd); }

int ftruncate(int fd, off_t size) { return open_under(fd) && refused(0) ? -1 : REAL(ftruncate)(fd, size); }

int ftruncate64(int fd, off64_t size) { return open_under(fd) && refused(0) ? -1 : REAL(ftruncate64)(fd, size); }

int posix_fallocate(int fd, off_t from, off_t size) {
    return open_under(fd) && refused(0) ? errno : REAL(posix_fallocate)(fd, from, size);
}

int posix_fallocate64(int fd, off64_t from, off64_t size) {
    return open_under(fd) && refused(0) ? errno : REAL(posix_fallocate64)(fd, from, size);
}

int rename(const char *from, const char *to) { return under(to) && refused(0) ? -1 : REAL(rename)(from, to); }
