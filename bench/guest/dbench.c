/*
 * dbench DEVICE MS REPS [TEST]: the speed of a block device, past the page cache (O_DIRECT, Linux's asynchronous I/O).
 * One line for each test and repetition:  @@D NAME OPERATIONS BYTES NANOSECONDS
 * Offsets come from a fixed sequence, so that every side does the same work. Errors end it with status 1.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define MAX_DEPTH 32
#define MAX_BYTES (1 << 20)

static const char *only;
static int device;
static uint64_t size, seed;
static aio_context_t context;
static unsigned char *buffers[MAX_DEPTH];
static struct iocb requests[MAX_DEPTH];

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void fail(const char *what) {
  printf("@@F %s\n", what);
  fflush(stdout);
  exit(1);
}

static uint64_t draw(void) {
  seed ^= seed << 13;
  seed ^= seed >> 7;
  seed ^= seed << 17;
  return seed;
}

static void submit(int slot, int writes, int random, unsigned bytes, uint64_t *next) {
  uint64_t blocks = size / bytes;
  uint64_t block = random ? draw() % blocks : (*next)++ % blocks;
  struct iocb *request = &requests[slot], *list[1] = {request};
  memset(request, 0, sizeof *request);
  request->aio_data = slot;
  request->aio_lio_opcode = writes ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD;
  request->aio_fildes = device;
  request->aio_buf = (uintptr_t)buffers[slot];
  request->aio_nbytes = bytes;
  request->aio_offset = block * bytes;
  if (syscall(SYS_io_submit, context, 1, list) != 1) fail("io_submit");
}

static void run(const char *name, int writes, int random, unsigned bytes, int depth, uint64_t ms) {
  if (only && strcmp(only, name) != 0) return;
  uint64_t start = now(), end = start + ms * 1000000, done = 0, next = 0;
  int underWay = 0;
  seed = 88172645463325252ull;
  for (int i = 0; i < depth; i++, underWay++) submit(i, writes, random, bytes, &next);
  while (underWay > 0) {
    struct io_event events[MAX_DEPTH];
    long got = syscall(SYS_io_getevents, context, 1, MAX_DEPTH, events, 0);
    if (got < 1) fail("io_getevents");
    int more = now() < end;
    for (long i = 0; i < got; i++, underWay--) {
      if (events[i].res != (long long)bytes) fail(name);
      done++;
      if (more) submit(events[i].data, writes, random, bytes, &next), underWay++;
    }
  }
  if (writes && fsync(device) != 0) fail("fsync");
  printf("@@D %s %llu %llu %llu\n", name, (unsigned long long)done, (unsigned long long)done * bytes,
         (unsigned long long)(now() - start));
  fflush(stdout);
}

int main(int argc, char **argv) {
  if (argc != 4 && argc != 5) return 2;
  only = argv[4];
  uint64_t ms = strtoull(argv[2], 0, 10);
  device = open(argv[1], O_RDWR | O_DIRECT);
  if (device < 0 || ioctl(device, BLKGETSIZE64, &size) != 0) fail("open");
  if (syscall(SYS_io_setup, MAX_DEPTH, &context) != 0) fail("io_setup");
  for (int i = 0; i < MAX_DEPTH; i++) {
    if (posix_memalign((void **)&buffers[i], 4096, MAX_BYTES) != 0) fail("memory");
    memset(buffers[i], i + 1, MAX_BYTES);
  }
  for (int reps = atoi(argv[3]); reps > 0; reps--) {
    run("read4k-1", 0, 1, 4096, 1, ms);
    run("read4k-32", 0, 1, 4096, 32, ms);
    run("write4k-1", 1, 1, 4096, 1, ms);
    run("write4k-32", 1, 1, 4096, 32, ms);
    run("read1m-4", 0, 0, MAX_BYTES, 4, ms);
    run("write1m-4", 1, 0, MAX_BYTES, 4, ms);
  }
  printf("@@Z\n");
  fflush(stdout);
  return 0;
}
