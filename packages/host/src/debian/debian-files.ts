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

/** Subsystems of devices that are told of again when udev has started. */
const DEVICE_KINDS = [
  "acpi",
  "block",
  "drm",
  "input",
  "net",
  "nvme",
  "pci",
  "scsi",
  "sound",
  "usb",
  "virtio",
  "virtio-ports",
];

/** What no VM of this kind needs: each would be a program more at each start. `systemctl unmask` brings one back. */
const MASKED_UNITS = [
  ...["dev-hugepages.mount", "dev-mqueue.mount", "proc-sys-fs-binfmt_misc.automount", "sys-fs-fuse-connections.mount"],
  ...["sys-kernel-config.mount", "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "modprobe@drm.service"],
  ...["systemd-ask-password-console.path", "systemd-ask-password-wall.path", "systemd-binfmt.service"],
  ...["systemd-firstboot.service", "systemd-network-generator.service", "systemd-pcrphase-sysinit.service"],
  ...["systemd-pcrphase.service", "systemd-pstore.service", "systemd-repart.service"],
  ...["systemd-update-utmp.service", "systemd-update-utmp-runlevel.service"],
];
const MASKED_GENERATORS = [
  ...["systemd-cryptsetup-generator", "systemd-gpt-auto-generator", "systemd-hibernate-resume-generator"],
  ...["systemd-integritysetup-generator", "systemd-run-generator", "systemd-system-update-generator"],
  "systemd-veritysetup-generator",
];

export const DEBIAN_LINKS: readonly (readonly [path: string, target: string])[] = [
  ...MASKED_UNITS.map((name) => [`etc/systemd/system/${name}`, "/dev/null"] as const),
  ...MASKED_GENERATORS.map((name) => [`etc/systemd/system-generators/${name}`, "/dev/null"] as const),
];

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
[ ! -e /run/cloud-init/enabled ] || exec /sbin/agetty -o '-p -- \\u' --keep-baud 115200 - "$1"
cd /root
export HOME=/root USER=root LOGNAME=root SHELL=/bin/bash TERM="$1"
exec /bin/bash --login
`,
    0o755,
  ],
  // At the start, only devices of kinds that a program may wait for or need a driver: of each other one the kernel tells, too.
  [
    "etc/systemd/system/systemd-udev-trigger.service.d/twinmetal.conf",
    `[Service]
ExecStart=
ExecStart=-udevadm trigger --action=add${DEVICE_KINDS.map((kind) => ` --subsystem-match=${kind}`).join("")}
ExecStart=-udevadm trigger --action=add --subsystem-match=tty --sysname-match=ttyS*
`,
  ],
  [
    "etc/systemd/system-generators/cloud-init-generator",
    `#!/bin/sh
# A machine with one disk and no seed on it: cloud-init's own generator need not find out which cloud this is.
for disk in /sys/block/*; do
  case $disk in */vda | */loop* | */ram*) ;; *) known=no ;; esac
done
for seed in /var/lib/cloud/seed/*; do [ ! -e "$seed" ] || known=no; done
read -r words </proc/cmdline
case " $words " in *" ds="* | *" cloud-init="* | *" ci.ds="*) known=no ;; esac
[ -z "$known" ] || exec /lib/systemd/system-generators/cloud-init-generator "$@"
mkdir -p /run/cloud-init
: >/run/cloud-init/disabled
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
  for (const [path, target] of DEBIAN_LINKS) root.addLink(path, target);
  if (/^https?:/.test(source.mirror))
    root.addFile("etc/apt/sources.list", `deb ${source.mirror} ${source.suite} main\n`);
}
