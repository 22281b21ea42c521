/*
 * A program for the guest's end of sockets to the host:
 *   listen PORT      takes one connection after the other and sends back what it reads, in capitals
 *   connect PORT     sends standard input to that port of the host and prints what comes back
 *   source PORT N    takes one connection and sends N bytes, each one more than the one before
 */
#include <ctype.h>
#include <linux/vm_sockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static char buffer[65536];

static int fail(const char *what) {
  perror(what);
  return 1;
}

static int send_all(int fd, const char *bytes, size_t length) {
  while (length > 0) {
    ssize_t sent = write(fd, bytes, length);
    if (sent <= 0) return -1;
    bytes += sent;
    length -= sent;
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 3) return 2;
  struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_port = strtoul(argv[2], 0, 10), .svm_cid = VMADDR_CID_ANY};
  int fd = socket(AF_VSOCK, SOCK_STREAM, 0);
  if (fd < 0) return fail("socket");
  if (!strcmp(argv[1], "connect")) {
    address.svm_cid = VMADDR_CID_HOST;
    if (connect(fd, (struct sockaddr *)&address, sizeof address)) return fail("connect");
    ssize_t got;
    while ((got = read(0, buffer, sizeof buffer)) > 0)
      if (send_all(fd, buffer, got)) return fail("write");
    shutdown(fd, SHUT_WR);
    while ((got = read(fd, buffer, sizeof buffer)) > 0) send_all(1, buffer, got);
    return got < 0 ? fail("read") : 0;
  }
  if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 8)) return fail("listen");
  puts("listening");
  fflush(stdout);
  for (;;) {
    int peer = accept(fd, 0, 0);
    if (peer < 0) return fail("accept");
    if (!strcmp(argv[1], "source")) {
      long left = argc > 3 ? atol(argv[3]) : 0;
      for (unsigned char next = 0; left > 0;) {
        long piece = left < (long)sizeof buffer ? left : (long)sizeof buffer;
        for (long i = 0; i < piece; i++) buffer[i] = next++;
        if (send_all(peer, buffer, piece)) return fail("write");
        left -= piece;
      }
      close(peer);
      return 0;
    }
    for (ssize_t got; (got = read(peer, buffer, sizeof buffer)) > 0;) {
      for (ssize_t i = 0; i < got; i++) buffer[i] = toupper((unsigned char)buffer[i]);
      if (send_all(peer, buffer, got)) break;
    }
    close(peer);
  }
}
