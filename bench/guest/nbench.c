/*
 * nbench HOST PORT MS REPS: the speed of a network, by TCP with a server of the host (bench/network.mjs), which is told in a
 * letter what to do: 'd' sends without end, 'u' takes without end, 'e' gives each byte back.
 * One line for each test and repetition:  @@D NAME OPERATIONS BYTES NANOSECONDS
 * "down" and "up" count bytes, "echo" round trips. Errors end it with status 1.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

static char buffer[1 << 18];

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

static int connected(const char *host, int port, char what) {
  struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
  int on = 1, s = socket(AF_INET, SOCK_STREAM, 0);
  inet_pton(AF_INET, host, &address.sin_addr);
  if (s < 0 || connect(s, (struct sockaddr *)&address, sizeof address) != 0) fail("connect");
  setsockopt(s, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (write(s, &what, 1) != 1) fail("write");
  return s;
}

int main(int argc, char **argv) {
  if (argc < 5) fail("usage: nbench HOST PORT MS REPS");
  const char *host = argv[1];
  int port = atoi(argv[2]), repetitions = atoi(argv[4]);
  uint64_t length = atoi(argv[3]) * 1000000ull;
  for (int i = 0; i < repetitions; i++) {
    static const char *const names[] = {"down", "up", "echo"};
    for (int test = 0; test < 3; test++) {
      int s = connected(host, port, "due"[test]);
      uint64_t start = now(), operations = 0, bytes = 0;
      while (now() - start < length) {
        if (test == 2) {
          if (write(s, buffer, 1) != 1 || read(s, buffer, 1) != 1) fail("echo");
          operations++;
          bytes += 2;
          continue;
        }
        ssize_t n = test == 0 ? read(s, buffer, sizeof buffer) : write(s, buffer, sizeof buffer);
        if (n <= 0) fail(names[test]);
        bytes += n;
        operations = bytes;
      }
      printf("@@D %s %llu %llu %llu\n", names[test], (unsigned long long)operations, (unsigned long long)bytes,
             (unsigned long long)(now() - start));
      fflush(stdout);
      close(s);
    }
  }
  printf("@@Z\n");
  return 0;
}
