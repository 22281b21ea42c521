/**
 * What the Debian image has beside its packages: the least that makes it a machine. The packages' own files stay as they are;
 * all of this is configuration, in the places that are meant for it.
 */
import type { DebianRoot } from "./debian-root.ts";

/** Found by apt's own pattern beside these: what every Debian has. */
export const DEBIAN_PACKAGES = [
  "?essential",
  // Merged directories are how the image begins; the package that makes them of others needs much of Perl.
  "usr-is-merged",
  ...["systemd-sysv", "systemd-resolved", "libpam-systemd", "dbus", "udev", "kmod"],
  ...["apt", "ca-certificates", "cloud-init", "openssh-server", "qemu-guest-agent", "sudo"],
  ...["e2fsprogs", "fdisk", "iproute2", "iputils-ping", "less", "nano", "netbase", "procps"],
] as const;

export const DEBIAN_FILES: readonly (readonly [path: string, content: string, mode?: number])[] = [
  ["etc/fstab", "/dev/vda / ext4 errors=remount-ro 0 1\n"],
  ["etc/hostname", "debian\n"],
  ["etc/hosts", "127.0.0.1 localhost\n127.0.1.1 debian\n::1 localhost ip6-localhost ip6-loopback\n"],
  // Empty: each machine gives itself one at its first start.
  ["etc/machine-id", ""],
  ["etc/default/locale", "LANG=C.UTF-8\n"],
  ["etc/systemd/network/80-dhcp.network", "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n"],
  [
    "etc/cloud/cloud.cfg.d/95_twinmetal.cfg",
    `# Without a seed nothing of cloud-init starts.
datasource_list: [NoCloud, ConfigDrive]
apt: {preserve_sources_list: true}
ssh_genkeytypes: [ed25519]
`,
  ],
  // An interpreted processor on a busy host takes longer than 90 s to find its serial port.
  [
    "etc/systemd/system.conf.d/twinmetal.conf",
    "[Manager]\nDefaultDeviceTimeoutSec=15min\nDefaultTimeoutStartSec=10min\n",
  ],
  [
    "etc/systemd/system/serial-getty@.service.d/twinmetal.conf",
    "[Service]\nExecStart=\nExecStart=-/usr/local/sbin/console-login $TERM\n",
  ],
  [
    "usr/local/sbin/console-login",
    `#!/bin/sh
# The console is the owner's: root's shell is on it, unless cloud-init has been told who may come in.
[ -e /run/cloud-init/enabled ] || exec /sbin/agetty --autologin root --keep-baud 115200 - "$1"
exec /sbin/agetty -o '-p -- \\u' --keep-baud 115200 - "$1"
`,
    0o755,
  ],
  [
    "etc/systemd/system/ssh.service.d/twinmetal.conf",
    `[Service]
ExecStartPre=
ExecStartPre=/bin/sh -c '[ -s /etc/ssh/ssh_host_ed25519_key ] || exec ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key'
ExecStartPre=/usr/sbin/sshd -t
`,
  ],
];

export function addDebianFiles(root: DebianRoot, source: { readonly mirror: string; readonly suite: string }): void {
  for (const [path, content, mode] of DEBIAN_FILES) root.addFile(path, content, mode);
  if (/^https?:/.test(source.mirror))
    root.addFile("etc/apt/sources.list", `deb ${source.mirror} ${source.suite} main\n`);
}
