/** Process 1 of the nested guest: mounts, KVM's modules, the test programs, power off. Its console is the first UART. */
export const INIT_SCRIPT = `#!/bin/busybox sh
export PATH=/bin:/sbin HOME=/root TMPDIR=/tmp
/bin/busybox mkdir -p /dev /sbin /usr/bin /usr/sbin
/bin/busybox mount -t devtmpfs devtmpfs /dev
/bin/busybox --install -s
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mkdir -p /dev/shm
mount -t tmpfs tmpfs /dev/shm
mount -t tmpfs tmpfs /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup 2>/dev/null
ifconfig lo 127.0.0.1 up
stty -F /dev/ttyS1 raw -echo
while read -r module; do insmod /lib/modules/$module; done </lib/modules/load-order
cd /twinmetal
node tests/run-programs.mjs >/dev/ttyS1 2>/dev/console </dev/null || echo "the runner failed" >/dev/console
sync
poweroff -f
`;
