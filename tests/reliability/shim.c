/* Preloaded into a process: counts the calls that change files below one directory, kills the process at the n-th of
 * them or lets it fail, and logs those that succeeded.  faults.py says how it is told what to do.
 *
 * Everything happens under one mutex together with the call itself, so that numbers and log are in the order in which
 * the kernel saw the calls of this process.  What is written through a mapping is not seen: of a store that is SQLite's
 * shared memory file alone, which nothing relies on.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum op { CREATE, WRITE, FSYNC, RANGE, FTRUNCATE, FALLOCATE, RENAME, LINK, UNLINK, MKDIR, RMDIR, READ, OPS };
static const char *const NAMES[OPS] = {"create", "write", "fsync", "sync_file_range", "ftruncate", "fallocate", "rename",
                                       "link", "unlink", "mkdir", "rmdir", "read"};
#define MUTATING ((1u << READ) - 1)
#define BIT(op) (1u << (op))
/* What a disk that stays full refuses; what takes away, or is there already, goes on. */
#define FILLS (BIT(CREATE) | BIT(WRITE) | BIT(FALLOCATE) | BIT(RENAME) | BIT(LINK) | BIT(MKDIR))

enum todo { NOTHING, KILL, KILL_AFTER, FAIL, SHORT };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static char root[4096];
static size_t root_length; /* 0: not armed */
static unsigned long at, count;
static enum todo what;
static int fault, stay, log_fd = -1;
static unsigned only = MUTATING;

/* libc's own function of that name, looked up once. */
#define REAL(name) ({ static __typeof__(&name) real_; if (!real_) real_ = dlsym(RTLD_NEXT, #name); real_; })

/* One call on its way: what it is about. */
struct call {
    enum op op;
    char path[4096]; /* relative to the root */
    char to[4096];
    ino_t ino;
    int dir, mode;
    off_t offset, size;
    unsigned long n;
};

static enum todo parse(const char *word) {
    fault = strcmp(word, "EIO") == 0 ? EIO : ENOSPC;
    if (strcmp(word, "kill") == 0) return KILL;
    if (strcmp(word, "kill-after") == 0) return KILL_AFTER;
    if (strcmp(word, "short") == 0) return SHORT;
    return strcmp(word, "EIO") == 0 || strcmp(word, "ENOSPC") == 0 ? FAIL : NOTHING;
}

static unsigned parse_ops(const char *words) {
    unsigned found = 0;
    for (int op = 0; op < OPS; op++) {
        size_t length = strlen(NAMES[op]);
        for (const char *p = words; (p = strstr(p, NAMES[op])); p += length)
            if ((p == words || p[-1] == ',') && (p[length] == ',' || p[length] == 0)) found |= BIT(op);
    }
    return found ? found : MUTATING;
}

/* From now on, counting from 1: the n-th call below `where` (an absolute path without links) gets the fault. */
void lamina_fault_arm(const char *where, unsigned long n, const char *does, int stays, const char *ops, const char *log) {
    pthread_mutex_lock(&mutex);
    snprintf(root, sizeof root, "%s", where);
    root_length = strlen(root);
    while (root_length > 1 && root[root_length - 1] == '/') root[--root_length] = 0;
    at = n, count = 0, stay = stays;
    what = parse(does);
    only = parse_ops(ops);
    if (log_fd >= 0) close(log_fd);
    log_fd = -1;
    if (*log) {
        int fd = REAL(openat)(AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        log_fd = fcntl(fd, F_DUPFD_CLOEXEC, 500); /* out of the way of programs that close what is low */
        close(fd);
    }
    pthread_mutex_unlock(&mutex);
}

unsigned long lamina_fault_count(void) { return count; }

static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? value : "";
}

__attribute__((constructor)) static void begin(void) {
    if (*setting("LAMINA_FAULT_ROOT"))
        lamina_fault_arm(setting("LAMINA_FAULT_ROOT"), strtoul(setting("LAMINA_FAULT_AT"), NULL, 10),
                         setting("LAMINA_FAULT_DO"), *setting("LAMINA_FAULT_STAY") == '1', setting("LAMINA_FAULT_ONLY"),
                         setting("LAMINA_FAULT_LOG"));
}

/* Whether an absolute path is the root or below it; then its part below. */
static int below(const char *path, char *rest) {
    if (strncmp(path, root, root_length) != 0 || (path[root_length] && path[root_length] != '/')) return 0;
    snprintf(rest, 4096, "%s", path[root_length] ? path + root_length + 1 : ".");
    return 1;
}

static int about_fd(int fd, struct call *call) {
    char link[40], path[4096 + 16];
    struct stat found;
    int before = errno;
    if (!root_length || fd == log_fd) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    errno = before;
    if (length <= 0) return 0;
    path[length] = 0;
    if (length > 10 && strcmp(path + length - 10, " (deleted)") == 0) path[length - 10] = 0;
    if (!below(path, call->path) || fstat(fd, &found) != 0) return 0;
    call->ino = found.st_ino, call->dir = S_ISDIR(found.st_mode);
    return 1;
}

static int about_path(int dirfd, const char *path, char *rest) {
    char whole[3 * 4096], base[4096];
    int before = errno;
    if (!root_length || !path) return 0;
    if (*path == '/') return below(path, rest);
    if (dirfd == AT_FDCWD) {
        if (!getcwd(base, sizeof base)) return 0;
    } else {
        char link[40];
        snprintf(link, sizeof link, "/proc/self/fd/%d", dirfd);
        ssize_t length = readlink(link, base, sizeof base - 1);
        if (length <= 0) return 0;
        base[length] = 0;
    }
    errno = before;
    snprintf(whole, sizeof whole, "%s/%s", base, path);
    return below(whole, rest);
}

static ino_t inode_at(int dirfd, const char *path) {
    struct stat found;
    int before = errno;
    ino_t ino = fstatat(dirfd, path, &found, AT_SYMLINK_NOFOLLOW) == 0 ? found.st_ino : 0;
    errno = before;
    return ino;
}

static void die(void) {
    kill(getpid(), SIGKILL);
    for (;;) pause();
}

/* Lock, count, and say what is to happen instead of the call: 0, or the error that it gets; `*half`: only half of it. */
static int enter(struct call *call, int *half) {
    pthread_mutex_lock(&mutex);
    if (!(only & BIT(call->op))) {
        call->n = 0;
        return 0;
    }
    call->n = ++count;
    if (!at || call->n < at) return 0;
    if (call->n > at) /* later ones fail only on a disk that stays as it is */
        return stay && (what == FAIL || what == SHORT) && (fault == EIO || FILLS & BIT(call->op)) ? fault : 0;
    if (what == KILL) die();
    if (what == SHORT && half && call->op == WRITE && (*half = 1)) return 0;
    return what == FAIL || what == SHORT ? fault : 0;
}

static size_t escaped(char *out, const char *text) {
    char *p = out;
    for (; *text; text++) {
        if (*text == '"' || *text == '\\') *p++ = '\\';
        if ((unsigned char)*text < 0x20) p += sprintf(p, "\\u%04x", *text);
        else *p++ = *text;
    }
    *p = 0;
    return p - out;
}

/* The call is done; note it if it did something, or was let fail (`done` -1), and unlock. */
static void leave(struct call *call, int done, const struct iovec *data, int parts) {
    int before = errno;
    if (done && log_fd >= 0 && call->op != READ) {
        static char path[6 * 4096], to[6 * 4096], head[13 * 4096];
        escaped(path, call->path), escaped(to, call->to);
        int length = snprintf(head, sizeof head,
            "{\"op\":\"%s%s\",\"n\":%lu,\"pid\":%d,\"ino\":%lu,\"path\":\"%s\",\"to\":\"%s\",\"offset\":%ld,\"size\":%ld,"
            "\"mode\":%d,\"dir\":%s}", done < 0 ? "failed " : "", NAMES[call->op], call->n, getpid(), (unsigned long)call->ino, path, to,
            (long)call->offset, (long)call->size, call->mode, call->dir ? "true" : "false");
        uint32_t size = length;
        struct iovec out[1026] = {{&size, 4}, {head, size}};
        off_t rest = call->op == WRITE && done > 0 ? call->size : 0;
        int used = 2;
        for (int i = 0; i < parts && rest > 0; i++, used++) {
            out[used] = data[i];
            if ((off_t)out[used].iov_len > rest) out[used].iov_len = rest;
            rest -= out[used].iov_len;
        }
        if (REAL(writev)(log_fd, out, used) < 0) abort();
    }
    if (call->n && call->n == at && what == KILL_AFTER) die();
    pthread_mutex_unlock(&mutex);
    errno = before;
}

#define FAILS(call, half, value) do { int wrong_ = enter(call, half); \
    if (wrong_) { leave(call, -1, NULL, 0); errno = wrong_; return value; } } while (0)

/* -- names */

static int opened(int dirfd, const char *path, int flags, mode_t mode) {
    struct call call = {.op = CREATE};
    if (!(flags & (O_CREAT | O_TRUNC)) || !about_path(dirfd, path, call.path))
        return REAL(openat)(dirfd, path, flags, mode);
    struct stat old;
    int before = errno, there = fstatat(dirfd, path, &old, 0) == 0;
    errno = before;
    if (there) call.op = FTRUNCATE;
    if (there ? !(flags & O_TRUNC) || (flags & O_EXCL) || !S_ISREG(old.st_mode) : !(flags & O_CREAT))
        return REAL(openat)(dirfd, path, flags, mode);
    FAILS(&call, NULL, -1);
    int fd = REAL(openat)(dirfd, path, flags, mode);
    call.ino = inode_at(dirfd, path); /* where O_DIRECT is refused, the file may be there all the same */
    leave(&call, fd >= 0 || (!there && call.ino), NULL, 0);
    return fd;
}

#define MODE(last) va_list more; va_start(more, last); mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(more, mode_t) : 0; va_end(more)
int open(const char *path, int flags, ...) { MODE(flags); return opened(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags); return opened(AT_FDCWD, path, flags, mode); }
int openat(int dirfd, const char *path, int flags, ...) { MODE(flags); return opened(dirfd, path, flags, mode); }
int openat64(int dirfd, const char *path, int flags, ...) { MODE(flags); return opened(dirfd, path, flags, mode); }
int creat(const char *path, mode_t mode) { return opened(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode); }
int creat64(const char *path, mode_t mode) { return creat(path, mode); }

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags) {
    struct call call = {.op = RENAME};
    int ours = about_path(from_dir, from, call.path);
    if (!about_path(to_dir, to, call.to) && !ours) return REAL(renameat2)(from_dir, from, to_dir, to, flags);
    FAILS(&call, NULL, -1);
    call.ino = inode_at(from_dir, from);
    int result = REAL(renameat2)(from_dir, from, to_dir, to, flags);
    leave(&call, result == 0, NULL, 0);
    return result;
}
int renameat(int from_dir, const char *from, int to_dir, const char *to) { return renameat2(from_dir, from, to_dir, to, 0); }
int rename(const char *from, const char *to) { return renameat2(AT_FDCWD, from, AT_FDCWD, to, 0); }

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags) {
    struct call call = {.op = LINK};
    about_path(from_dir, from, call.path);
    if (!about_path(to_dir, to, call.to)) return REAL(linkat)(from_dir, from, to_dir, to, flags);
    FAILS(&call, NULL, -1);
    call.ino = inode_at(from_dir, from);
    int result = REAL(linkat)(from_dir, from, to_dir, to, flags);
    leave(&call, result == 0, NULL, 0);
    return result;
}
int link(const char *from, const char *to) { return linkat(AT_FDCWD, from, AT_FDCWD, to, 0); }

int unlinkat(int dirfd, const char *path, int flags) {
    struct call call = {.op = flags & AT_REMOVEDIR ? RMDIR : UNLINK};
    ino_t ino;
    /* What is not there is not removed: no call worth a number. */
    if (!about_path(dirfd, path, call.path) || !(ino = inode_at(dirfd, path))) return REAL(unlinkat)(dirfd, path, flags);
    FAILS(&call, NULL, -1);
    call.ino = ino;
    int result = REAL(unlinkat)(dirfd, path, flags);
    leave(&call, result == 0, NULL, 0);
    return result;
}
int unlink(const char *path) { return unlinkat(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return unlinkat(AT_FDCWD, path, AT_REMOVEDIR); }
int remove(const char *path) {
    struct stat found;
    return unlinkat(AT_FDCWD, path, lstat(path, &found) == 0 && S_ISDIR(found.st_mode) ? AT_REMOVEDIR : 0);
}

int mkdirat(int dirfd, const char *path, mode_t mode) {
    struct call call = {.op = MKDIR, .dir = 1};
    if (!about_path(dirfd, path, call.path) || inode_at(dirfd, path)) return REAL(mkdirat)(dirfd, path, mode);
    FAILS(&call, NULL, -1);
    int result = REAL(mkdirat)(dirfd, path, mode);
    call.ino = inode_at(dirfd, path);
    leave(&call, result == 0, NULL, 0);
    return result;
}
int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* -- bytes */

static ssize_t put(int fd, const struct iovec *data, int parts, off_t offset, int flags) {
    struct call call = {.op = WRITE};
    int half = 0;
    if (!about_fd(fd, &call))
        return offset == -1 && !flags ? REAL(writev)(fd, data, parts) : REAL(pwritev2)(fd, data, parts, offset, flags);
    FAILS(&call, &half, -1);
    struct iovec first = data[0];
    if (half) { /* what fits on a disk that gets full: whole blocks if there are any */
        first.iov_len /= 2;
        if (first.iov_len > 4096) first.iov_len -= first.iov_len % 4096;
        data = &first, parts = 1;
    }
    ssize_t result = REAL(pwritev2)(fd, data, parts, offset, flags);
    call.size = result;
    call.offset = offset == -1 ? lseek(fd, 0, SEEK_CUR) - result : offset;
    leave(&call, result >= 0, data, parts);
    return result;
}
ssize_t write(int fd, const void *data, size_t size) {
    struct call call;
    if (!about_fd(fd, &call)) return REAL(write)(fd, data, size);
    return put(fd, &(struct iovec){(void *)data, size}, 1, -1, 0);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset) {
    return put(fd, &(struct iovec){(void *)data, size}, 1, offset, 0);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off_t offset) { return pwrite(fd, data, size, offset); }
ssize_t writev(int fd, const struct iovec *data, int parts) { return put(fd, data, parts, -1, 0); }
ssize_t pwritev(int fd, const struct iovec *data, int parts, off_t offset) { return put(fd, data, parts, offset, 0); }
ssize_t pwritev64(int fd, const struct iovec *data, int parts, off_t offset) { return put(fd, data, parts, offset, 0); }
ssize_t pwritev2(int fd, const struct iovec *data, int parts, off_t offset, int flags) { return put(fd, data, parts, offset, flags); }
ssize_t pwritev64v2(int fd, const struct iovec *data, int parts, off_t offset, int flags) { return put(fd, data, parts, offset, flags); }

/* A copy from file to file goes as a read and a write, and so has its payload in the log. */
static ssize_t copied(int from, off_t *from_at, int to, off_t *to_at, size_t size) {
    char buffer[65536];
    if (size > sizeof buffer) size = sizeof buffer;
    ssize_t found = from_at ? REAL(pread)(from, buffer, size, *from_at) : REAL(read)(from, buffer, size);
    if (found <= 0) return found;
    ssize_t done = to_at ? pwrite(to, buffer, found, *to_at) : write(to, buffer, found);
    if (!from_at && done < found) lseek(from, (done > 0 ? done : 0) - found, SEEK_CUR);
    if (done > 0 && from_at) *from_at += done;
    if (done > 0 && to_at) *to_at += done;
    return done;
}
ssize_t copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t size, unsigned flags) {
    struct call call;
    return about_fd(to, &call) ? copied(from, from_at, to, to_at, size)
                               : REAL(copy_file_range)(from, from_at, to, to_at, size, flags);
}
ssize_t sendfile(int to, int from, off_t *from_at, size_t size) {
    struct call call;
    return about_fd(to, &call) ? copied(from, from_at, to, NULL, size) : REAL(sendfile)(to, from, from_at, size);
}
ssize_t sendfile64(int to, int from, off_t *from_at, size_t size) { return sendfile(to, from, from_at, size); }

/* `code`: whether the error is the result (posix_fallocate), not in errno. */
#define ON_FD(fd_, op_, offset_, size_, mode_, code, real) \
    struct call call = {.op = op_, .offset = offset_, .size = size_, .mode = mode_}; \
    if (!about_fd(fd_, &call)) return real; \
    int wrong = enter(&call, NULL), result = -1; \
    if (wrong) { leave(&call, -1, NULL, 0); errno = wrong; return code ? wrong : -1; } \
    result = real; \
    leave(&call, result == 0, NULL, 0); \
    return result
int fsync(int fd) { ON_FD(fd, FSYNC, 0, 0, 0, 0, REAL(fsync)(fd)); }
int fdatasync(int fd) { ON_FD(fd, FSYNC, 0, 0, 0, 0, REAL(fdatasync)(fd)); }
int sync_file_range(int fd, off_t offset, off_t size, unsigned flags) {
    ON_FD(fd, RANGE, offset, size, 0, 0, REAL(sync_file_range)(fd, offset, size, flags));
}
int ftruncate(int fd, off_t size) { ON_FD(fd, FTRUNCATE, 0, size, 0, 0, REAL(ftruncate)(fd, size)); }
int ftruncate64(int fd, off_t size) { return ftruncate(fd, size); }
int fallocate(int fd, int mode, off_t offset, off_t size) {
    ON_FD(fd, FALLOCATE, offset, size, mode, 0, REAL(fallocate)(fd, mode, offset, size));
}
int fallocate64(int fd, int mode, off_t offset, off_t size) { return fallocate(fd, mode, offset, size); }
int posix_fallocate(int fd, off_t offset, off_t size) {
    ON_FD(fd, FALLOCATE, offset, size, 0, 1, REAL(posix_fallocate)(fd, offset, size));
}
int posix_fallocate64(int fd, off_t offset, off_t size) { return posix_fallocate(fd, offset, size); }
int truncate(const char *path, off_t size) {
    struct call call = {.op = FTRUNCATE, .size = size};
    if (!about_path(AT_FDCWD, path, call.path)) return REAL(truncate)(path, size);
    FAILS(&call, NULL, -1);
    call.ino = inode_at(AT_FDCWD, path);
    int result = REAL(truncate)(path, size);
    leave(&call, result == 0, NULL, 0);
    return result;
}
int truncate64(const char *path, off_t size) { return truncate(path, size); }

/* Reads count only when they are asked for. */
#define READS(fd_, real) \
    struct call call = {.op = READ}; \
    if (!(only & BIT(READ)) || !about_fd(fd_, &call)) return real; \
    FAILS(&call, NULL, -1); \
    ssize_t result = real; \
    leave(&call, 1, NULL, 0); \
    return result
ssize_t read(int fd, void *data, size_t size) { READS(fd, REAL(read)(fd, data, size)); }
ssize_t pread(int fd, void *data, size_t size, off_t offset) { READS(fd, REAL(pread)(fd, data, size, offset)); }
ssize_t pread64(int fd, void *data, size_t size, off_t offset) { return pread(fd, data, size, offset); }
ssize_t readv(int fd, const struct iovec *data, int parts) { READS(fd, REAL(readv)(fd, data, parts)); }
ssize_t preadv2(int fd, const struct iovec *data, int parts, off_t offset, int flags) {
    READS(fd, REAL(preadv2)(fd, data, parts, offset, flags));
}
ssize_t preadv64v2(int fd, const struct iovec *data, int parts, off_t offset, int flags) { return preadv2(fd, data, parts, offset, flags); }
ssize_t preadv(int fd, const struct iovec *data, int parts, off_t offset) { return preadv2(fd, data, parts, offset, 0); }
ssize_t preadv64(int fd, const struct iovec *data, int parts, off_t offset) { return preadv2(fd, data, parts, offset, 0); }
