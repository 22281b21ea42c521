/**
 * The shell's script that configures an unpacked Debian on the tiny guest's first disk, as dpkg would have gone on, and makes a
 * template of it: no key, no machine's id. What takes an interpreter or is the same for many packages is done once, by itself.
 * Each step says what it does in a line that begins with `STEP_LINE`, as dpkg does for each package.
 */
import { STAND_IN_FILES, STAND_IN_PROGRAMS } from "./stand-ins.ts";

export const STEP_LINE = "Setting up ";

/**
 * Python keeps a module compiled when it is imported, for those who may write there. These are what cloud-init imports when a
 * machine starts: compiling them then takes longer than everything else that it does.
 */
const PYTHON_MODULES = `import importlib, pkgutil, re
import cloudinit, email.generator, importlib.metadata, jinja2.ext, jsonschema
unused = re.compile("cloudinit.(cmd.devel|analyze|sources.(?!helpers$|DataSource(NoCloud|ConfigDrive|None)$)|distros.(?!debian$))")
for module in pkgutil.walk_packages(cloudinit.__path__, "cloudinit."):
    if unused.match(module.name):
        continue
    try:
        importlib.import_module(module.name)
    except ImportError:
        pass
`;

/** In the new system. $1: the kernel's release. */
const INNER_SCRIPT = `set -e
# As systemctl does (systemd.unit(5), [Install]), which calls the tools for older systems beside that.
enable() {
  [ ! -e /run/enabled-$1-$2 ] || return 0
  : >/run/enabled-$1-$2
  file=/lib/systemd/$1/$2
  [ -e $file ] || file=/lib/systemd/$1/\${2%@*}@.\${2##*.}
  while IFS="= " read -r key values; do
    for value in $values; do
      case $key in
        WantedBy) link_unit $file /etc/systemd/$1/$value.wants/$2 ;;
        RequiredBy) link_unit $file /etc/systemd/$1/$value.requires/$2 ;;
        Alias) link_unit $file /etc/systemd/$1/$value ;;
        Also) echo $value >>/run/also ;;
      esac
    done
  done <$file
  [ ! -e /run/also ] || { mv /run/also /run/next; for next in $(cat /run/next); do enable $1 $next; done; }
}
link_unit() {
  [ -d \${2%/*} ] || mkdir -p \${2%/*}
  ln -sf $1 $2
}
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true LC_ALL=C.UTF-8 HOME=/root
export PATH=/run/stand-ins:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
echo "${STEP_LINE}users"
# Of the scripts that come before unpacking, the one that does not ask for an older version.
DPKG_MAINTSCRIPT_PACKAGE=base-passwd DPKG_MAINTSCRIPT_NAME=preinst DPKG_MAINTSCRIPT_ARCH=amd64 \\
  /var/lib/dpkg/info/base-passwd.preinst install
/usr/bin/systemd-sysusers
dpkg --configure -a
echo "${STEP_LINE}logins"
/usr/sbin/pam-auth-update --package --force
echo "${STEP_LINE}units"
echo systemd-networkd.service >>/run/enabled
sort -u /run/enabled | grep -v -e ^apt-daily -e ^e2scrub >/run/units
while read -r unit; do enable system $unit; done </run/units
[ ! -e /run/enabled-user ] || while read -r unit; do enable user $unit; done </run/enabled-user
echo "${STEP_LINE}certificates"
openssl rehash /etc/ssl/certs
echo "${STEP_LINE}Python's modules"
PYTHONHASHSEED=0 python3 - <<'PYTHON'
${PYTHON_MODULES}PYTHON
echo "${STEP_LINE}the kernel's modules"
depmod $1
ln -sf ../run/systemd/resolve/stub-resolv.conf /etc/resolv.conf
rm -f /var/lib/dbus/machine-id /etc/machine-id /var/lib/systemd/random-seed
: >/etc/machine-id
rm -rf /var/log/*.log /var/log/journal/*
# Nothing is to be brought up to date at the first start.
touch /etc/.updated /var/.updated
`;

/** How often it says `STEP_LINE` beside dpkg. */
export const OWN_STEPS = INNER_SCRIPT.split(`echo "${STEP_LINE}`).length - 1;

/** What systemd-sysusers is told (sysusers.d(5)) beside what packages tell it: the users that only scripts would make. */
const USERS = `u sshd - - /run/sshd
g _ssh -
g input -
g kvm -
g render -
g sgx -
`;

const fileOf = (path: string, content: string): string => `cat >${path} <<'END'\n${content}END\n`;

const standInPrograms = Object.entries(STAND_IN_PROGRAMS).map(([name, script]) =>
  fileOf(`$run/stand-ins/${name}`, script),
);
const standInFiles = Object.entries(STAND_IN_FILES).map(
  ([path, content], index) =>
    `${fileOf(`$run/stand-in-${index}`, content)}for file in $new${path}; do mount -o bind $run/stand-in-${index} $file; done\n`,
);

/** For the tiny guest, with the new system on its first disk. $1: the kernel's release. A disk that is cut off is thrown away. */
export const CONFIGURE_SCRIPT = `set -e
new=/new run=/new/run
mkdir $new
mount -t ext4 -o noatime,nobarrier /dev/vda $new
mount -t proc proc $new/proc
mount -t sysfs -o ro sysfs $new/sys
mount -o rbind /dev $new/dev
mount -t tmpfs tmpfs $run
mount -t tmpfs -o mode=1777 tmpfs $new/tmp
mkdir $run/stand-ins $run/sysusers.d
${standInPrograms.join("")}chmod 755 $run/stand-ins/*
${standInFiles.join("")}${fileOf("$run/sysusers.d/twinmetal.conf", USERS)}${fileOf("$run/configure", INNER_SCRIPT)}chroot $new /bin/sh /run/configure $1 </dev/null
# The journal is added when the file system is not mounted, by its own program, which is taken out before.
mkdir -p /tools/dev
for file in /sbin/tune2fs $(chroot $new ldd /sbin/tune2fs | grep -o '/[^ )]*'); do
  mkdir -p /tools\${file%/*}
  chroot $new cat $file >/tools$file
  chmod 755 /tools$file
done
while read -r device directory rest; do
  case $directory in $new/usr/*) umount -l $directory ;; esac
done </proc/mounts
for directory in tmp run dev sys proc; do umount -l $new/$directory; done
umount $new
mkdir /tools/proc
mount -t proc proc /tools/proc
mount -o bind /dev /tools/dev
chroot /tools /sbin/tune2fs -j -J size=32 /dev/vda
sync
`;
