/* Formats tracks of /dev/fd0, all or one: floppy-format [TRACK HEAD]. */
#include <fcntl.h>
#include <linux/fd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

static void check(int result, const char *what) {
  if (result >= 0) return;
  perror(what);
  exit(1);
}

int main(int count, char **given) {
  char sector[512];
  int first = 0, last = 159;
  int disk = open("/dev/fd0", O_RDWR);
  check(disk, "open");
  /* By reading the driver finds out what disk that is. */
  check(read(disk, sector, sizeof sector), "read");
  if (count == 3) first = last = atoi(given[1]) * 2 + atoi(given[2]);
  check(ioctl(disk, FDFMTBEG, 0), "FDFMTBEG");
  for (int side = first; side <= last; side++) {
    struct format_descr track = {0, side & 1, side >> 1};
    check(ioctl(disk, FDFMTTRK, &track), "FDFMTTRK");
  }
  check(ioctl(disk, FDFMTEND, 0), "FDFMTEND");
  return 0;
}
