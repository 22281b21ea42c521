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

/** In the new system, when all of it is unpacked: as dpkg would have gone on, then what has to be true of a template. */
const INNER_SCRIPT = `set -e
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C.UTF-8 HOME=/root
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
# What looks for an older version has none to find here, and Python's modules are compiled when they are first used: both would
# take longer than all the rest.
skipped="/usr/bin/dpkg-maintscript-helper /usr/bin/py3compile $(ls /usr/lib/python3.*/py_compile.py)"
for file in $skipped; do
  cp -p $file /run/\${file##*/}
  case $file in *.py) echo >$file ;; *) printf '#!/bin/sh\n' >$file ;; esac
done
# Each machine makes its own key: one that is there is not made now.
for kind in rsa ecdsa ed25519; do : >/etc/ssh/ssh_host_\${kind}_key; done
# Of the scripts that come before unpacking, the one that does not ask for an older version: it makes the first users.
DPKG_MAINTSCRIPT_PACKAGE=base-passwd DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_ARCH=amd64 \\
  /var/lib/dpkg/info/base-passwd.preinst install
dpkg --configure -a
for file in $skipped; do cp -p /run/\${file##*/} $file; done
python3 - <<'PYTHON'
import glob, importlib, os
names = ["cmd.main", "distros.debian", "net.networkd", "sources.DataSourceNoCloud", "sources.DataSourceConfigDrive"]
here = os.path.dirname(importlib.import_module("cloudinit").__file__)
names += ["config." + os.path.basename(path)[:-3] for path in glob.glob(here + "/config/cc_*.py")]
for name in names:
    try:
        importlib.import_module("cloudinit." + name)
    except ImportError as error:
        print(name, error)
PYTHON
openssl rehash /etc/ssl/certs
depmod $1
systemctl -q enable systemd-networkd systemd-resolved
systemctl -q disable apt-daily.timer apt-daily-upgrade.timer
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
rm -f /etc/ssh/ssh_host_*_key* /var/lib/dbus/machine-id /etc/machine-id /var/lib/systemd/random-seed
: >/etc/machine-id
rm -rf /var/log/*.log /var/log/journal/*
`;

/** For the tiny guest, with the new system on its first disk. $1: the kernel's release. */
export const CONFIGURE_SCRIPT = `set -e
new=/new
mkdir $new
mount -t ext4 /dev/vda $new
mount -t proc proc $new/proc
mount -t sysfs -o ro sysfs $new/sys
mount -o rbind /dev $new/dev
mount -t tmpfs tmpfs $new/run
mount -t tmpfs -o mode=1777 tmpfs $new/tmp
cat >$new/run/configure <<'END'
${INNER_SCRIPT}END
chroot $new /bin/sh /run/configure $1 </dev/null
# The journal is added when the file system is not mounted, by its own program, which is taken out before.
mkdir -p /tools/dev
for file in /sbin/tune2fs $(chroot $new ldd /sbin/tune2fs | grep -o '/[^ )]*'); do
  mkdir -p /tools\${file%/*}
  cp $new$file /tools$file
done
for directory in tmp run dev sys proc; do umount -l $new/$directory; done
umount $new
mount -o bind /dev /tools/dev
chroot /tools /sbin/tune2fs -j -J size=32 /dev/vda
sync
`;
