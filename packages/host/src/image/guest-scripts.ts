/**
 * What runs inside the tiny guest besides busybox: /init, which mounts and then becomes busybox init, /etc/inittab
 * (written by /init), /etc/profile, the power script, and the agent. The agent's side of the protocol is specified in
 * docs/reference/agent-protocol.md. The scripts are text here and not files, so that the published package needs
 * nothing beside its compiled modules.
 *
 * Two rules for whoever edits them. A shell leaves SIGINT ignored in what it starts with `&`, and that cannot be undone
 * further down: that is why busybox init starts the console's shell, and why the agent starts its workers by process
 * substitution. And one write to a port is one message to the host: answers are written by a single `echo`.
 */

/** Mounts, names, /etc/inittab; then busybox init is process 1. Reads twinmetal.tty, .term, .shell (off, or once: its end is the machine's) and .root. */
export const INIT_SCRIPT = `#!/bin/sh
PATH=/sbin:/usr/sbin:/bin:/usr/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=755 tmpfs /run
mount -t tmpfs -o mode=1777 tmpfs /tmp
ln -s /proc/self/fd /dev/fd
ln -s fd/0 /dev/stdin
ln -s fd/1 /dev/stdout
ln -s fd/2 /dev/stderr
mkdir /run/twinmetal /dev/virtio-ports
busybox --install -s
for name in poweroff reboot halt; do ln -sf /etc/twinmetal/power /sbin/$name; done
hostname twinmetal
ifconfig lo 127.0.0.1 up

tty=ttyS0 shell=on root=
read -r words </proc/cmdline
set -f
for word in $words; do
  case $word in
    twinmetal.tty=*) tty=\${word#*=} ;;
    twinmetal.shell=*) shell=\${word#*=} ;;
    twinmetal.root=*) root=\${word#*=} ;;
    twinmetal.term=*) echo "\${word#*=}" >/run/twinmetal/term ;;
    twinmetal.hostname=*) hostname "\${word#*=}" ;;
  esac
done
[ -z "$root" ] || exec /etc/twinmetal/root $root
echo "$tty" >/run/twinmetal/tty
[ "$shell" = once ] && : >/run/twinmetal/once
{
  [ "$shell" = off ] || echo "$tty::respawn:-/bin/sh"
  echo "::respawn:/etc/twinmetal/agent"
  echo "::ctrlaltdel:/sbin/reboot"
  echo "::shutdown:/etc/twinmetal/power"
} >/etc/inittab
exec /sbin/init
`;

/** Also /sbin/poweroff, reboot and halt: asks the kernel directly, where busybox init takes two seconds more. */
export const POWER_SCRIPT = `#!/bin/sh
PATH=/sbin:/usr/sbin:/bin:/usr/bin
sync
while read -r device directory rest; do
  case $device in
    /dev/*) umount "$directory" || mount -o remount,ro "$directory" ;;
  esac
done </proc/mounts 2>/dev/null
action=\${1:-\${0##*/}}
case $action in
  poweroff | reboot | halt) exec busybox $action -f ;;
esac
`;

/** What uevent calls for what comes and goes: a processor that has come is used. */
export const PLUGGED_SCRIPT = `#!/bin/sh
[ "$SUBSYSTEM $ACTION" = "cpu add" ] && echo 1 >/sys$DEVPATH/online
`;

/** What udhcpc calls with what it was told. */
export const DHCP_SCRIPT = `#!/bin/sh
case $1 in
  deconfig) ip addr flush dev $interface ;;
  bound | renew)
    ip addr replace $ip/$mask dev $interface
    for gateway in $router; do ip route replace default via $gateway dev $interface; done
    for server in $dns; do echo "nameserver $server"; done >/etc/resolv.conf
    ;;
esac
`;

/**
 * container DIRECTORY UID GID COMMAND...: makes the first disk, a container image's, ready at /container, then becomes COMMAND,
 * which enters it.
 */
export const CONTAINER_SCRIPT = `#!/bin/sh
PATH=/sbin:/usr/sbin:/bin:/usr/bin
directory=$1 user=$2:$3
shift 3
if mkdir /run/twinmetal/container 2>/dev/null; then
  mkdir -p /container
  mount -t ext4 /dev/vda /container || {
    echo "twinmetal: the container image's disk cannot be mounted" >&2
    exit 125
  }
  mkdir -p /container/proc /container/sys /container/dev /container/etc
  mount -t proc proc /container/proc
  mount -t sysfs -o ro sysfs /container/sys
  mount -o rbind /dev /container/dev
  if [ -d /share ]; then
    mkdir -p /container/share
    mount -o rbind /share /container/share
  fi
  if [ -s /etc/resolv.conf ]; then
    rm -f /container/etc/resolv.conf
    cp /etc/resolv.conf /container/etc/resolv.conf
  fi
  [ -e /container/etc/hosts ] || cp /etc/hosts /container/etc/hosts
fi
if [ ! -d "/container$directory" ]; then
  mkdir -p "/container$directory"
  chown $user "/container$directory"
fi
exec "$@"
`;

/** root DEVICE: leaves this file system for the one on a disk, whose own init becomes process 1. */
export const ROOT_SCRIPT = `#!/bin/sh
PATH=/sbin:/usr/sbin:/bin:/usr/bin
while read -r module; do insmod /lib/modules/$module; done </lib/modules/load-order
while read -r module; do
  zcat /lib/modules/$module.gz >/tmp/$module && insmod /tmp/$module
  rm -f /tmp/$module
done </lib/modules/disk-order
tries=500
until [ -b "$1" ] || [ $((tries -= 1)) = 0 ]; do usleep 10000; done
mount -t ext4 "$1" /mnt || {
  echo "twinmetal: $1 cannot be mounted"
  exec /etc/twinmetal/power poweroff
}
umount /tmp /dev/shm /dev/pts
rm -rf /run/twinmetal
for directory in proc sys dev run; do mount -o move /$directory /mnt/$directory; done
exec switch_root /mnt /sbin/init
`;

export const PROFILE_SCRIPT = `export PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root
TERM=vt102
[ -e /run/twinmetal/term ] && read -r TERM </run/twinmetal/term
export TERM
cd
poweroff() { /sbin/poweroff; }
reboot() { /sbin/reboot; }
halt() { /sbin/halt; }
# The agent loads drivers while the shell starts: what is typed at the first prompt finds disks and shared folders there.
wait_for() {
  _tries=100
  until [ -e /run/twinmetal/$1 ] || [ $((_tries -= 1)) = 0 ]; do sleep 0.1; done
}
wait_for_disks() {
  for _device in /sys/bus/pci/devices/*/device; do
    read -r _kind <$_device && [ "$_kind" = 0x1042 ] || continue
    wait_for disks
    return
  done
}
wait_for_network() {
  read -r _words </proc/cmdline
  case $_words in *twinmetal.net=dhcp*) wait_for network ;; esac
}
wait_for_shares() {
  read -r _words </proc/cmdline
  case $_words in *twinmetal.share=*) wait_for shares ;; esac
}
if mkdir /run/twinmetal/greeted 2>/dev/null; then
  wait_for_disks
  wait_for_network
  wait_for_shares
  cat /etc/motd
elif [ -e /run/twinmetal/once ]; then
  exec /sbin/poweroff
else
  echo "The shell had ended; this is a new one. To turn the machine off: poweroff"
fi
`;

export const AGENT_SCRIPT = `#!/bin/sh
# The guest's end of Twinmetal's agent protocol, version 1.
export PATH=/sbin:/usr/sbin:/bin:/usr/bin HOME=/root USER=root LOGNAME=root SHELL=/bin/sh
unset TERM CONSOLE
run=/run/twinmetal ports=/dev/virtio-ports
exec </dev/null >/dev/null 2>&1
cd /
trap '' PIPE

watch_power_button() {
  for input in /sys/class/input/event*; do
    read -r name <$input/device/name || continue
    if [ "$name" = "Power Button" ]; then
      head -c 1 /dev/input/\${input##*/} && /etc/twinmetal/power poweroff &
    fi
  done
}

load_modules() {
  mkdir $run/modules || return
  while read -r module; do insmod /lib/modules/$module; done </lib/modules/load-order
  { has_virtio_device 0x0002 || has_slots; } && load_packed disk-order && : >$run/disks
  { has_network_card || has_slots; } && load_packed network-order && ask_for_addresses
  # What is plugged in is used at once, and for what can be moved away again.
  echo online_movable >/sys/devices/system/memory/auto_online_blocks
  use_processors
  for id in 0x0005 0x0013 0x0018; do has_virtio_device $id && load_packed virtio-$id; done
  mount_shares
  watch_power_button
}

# Those that were there at the start are used; where others can come, they are when they do.
use_processors() {
  for eject in /sys/bus/acpi/devices/ACPI0007:*/eject; do
    [ -e $eject ] || return
    uevent /etc/twinmetal/plugged &
    for online in /sys/devices/system/cpu/cpu*/online; do echo 1 >$online; done
    return
  done
}

# Where the host says that somebody answers.
ask_for_addresses() {
  read -r words </proc/cmdline
  case $words in *twinmetal.net=dhcp:*) ;; *) return ;; esac
  cards=\${words##*twinmetal.net=dhcp:}
  for card in $(IFS=,; echo \${cards%% *}); do
    ip link set $card up
    udhcpc -n -q -t 5 -T 1 -s /etc/twinmetal/dhcp -i $card
  done
  : >$run/network
}

load_packed() {
  while read -r module; do
    zcat /lib/modules/$module.gz >/tmp/$module && insmod /tmp/$module
    rm -f /tmp/$module
  done </lib/modules/$1
  return 0
}

# In which disks and network cards come and go.
has_slots() {
  for slot in /sys/bus/pci/slots/*; do
    [ -e $slot ] && return
  done
  return 1
}

has_network_card() {
  for device in /sys/bus/pci/devices/*; do
    read -r class <$device/class && [ "$class" = 0x020000 ] && return
  done
  return 1
}

# The host's folders, which the kernel's command line names as twinmetal.share=TYPE:NAME.
mount_shares() {
  shares=
  read -r words </proc/cmdline
  set -f
  for word in $words; do
    case $word in twinmetal.share=?*:?*) shares="$shares \${word#*=}" ;; esac
  done
  set +f
  [ -n "$shares" ] || return
  load_packed share-order
  for share in $shares; do
    name=\${share#*:}
    mkdir -p /share/$name
    case $share in
      virtiofs:*) mount -t virtiofs $name /share/$name ;;
      9p:*) mount -t 9p -o trans=virtio,version=9p2000.L,msize=131072 $name /share/$name ;;
    esac
  done
  : >$run/shares
}

has_virtio_device() {
  for device in /sys/bus/virtio/devices/*; do
    read -r kind <$device/device && [ "$kind" = $1 ] && return
  done
  return 1
}

# There is no udev here: the names that the host gave its ports become links by hand.
link_ports() {
  for port in /sys/class/virtio-ports/*; do
    read -r name <$port/name && [ ! -e $ports/$name ] && ln -s ../\${port##*/} $ports/$name
  done
}

# A word of the protocol into $value. Bytes outside a small safe set come as three octal digits.
decode() {
  case $1 in
    -) value= ; return ;;
    *[!A-Za-z0-9_./=:,+@%^\\\\-]* | *\\\\ | *\\\\? | *\\\\?? | *\\\\[!0-3]* | *\\\\?[!0-7]* | *\\\\??[!0-7]*) return 1 ;;
  esac
  eval "value=\\$'$1'"
}

is_number() {
  case $1 in '' | *[!0-9]* | ?????????????*) return 1 ;; esac
}

# Ends as the program "$@". What keeps it from running is told on the program's own standard error.
become() {
  set -f
  _found=
  case $1 in
    */*) _found=$1 ;;
    ?*)
      IFS=:
      for _directory in $PATH; do
        [ -f "$_directory/$1" ] && { _found=$_directory/$1; break; }
      done
      unset IFS
      ;;
  esac
  if [ ! -e "$_found" ]; then
    echo "twinmetal: $1: not found" >&2
    exit 127
  elif [ -d "$_found" ]; then
    echo "twinmetal: $1: is a directory" >&2
    exit 126
  elif [ ! -x "$_found" ]; then
    echo "twinmetal: $1: permission denied" >&2
    exit 126
  fi
  exec setsid -- "$@"
}

# Standard input begins when the host has repeated the nonce: before that, "end of file" means "nobody there yet".
feed() {
  until [ "$line" = "$nonce" ]; do read -r line || usleep 2000; done
  exec cat >$dir/in
}

is_child() {
  while read -r key parent; do
    [ "$key" = PPid: ] && { [ "$parent" = "$self" ]; return; }
  done </proc/$1/status
  return 1
}

# supervise ID SLOT NONCE STDIN DIRECTORY COUNT NAME=VALUE... COMMAND ARGUMENT...
# One process for each running command. It tells the host on 3 and hears from the main loop on 0.
supervise() {
  id=$1 slot=$2 nonce=$3 stdin=$4
  exec 4>&- 5>&- 6>&- 7>&-
  trap - PIPE
  read -r self rest </proc/self/stat
  dir=$run/slot$slot
  refuse() {
    rm -rf $dir
    echo "error $id $*" >&3
    exit
  }
  decode "$5" || refuse bad-request "the directory is badly encoded"
  directory=$value count=$6 variables=
  is_number "$count" && [ $count -lt $(($# - 6)) ] || refuse bad-request "the number of variables is wrong"
  shift 6
  while [ $count -gt 0 ]; do
    decode "$1" || refuse bad-request "a variable is badly encoded"
    case \${value%%=*} in
      "$value" | '' | [0-9]* | *[!A-Za-z0-9_]*) refuse bad-request "a variable has a name that a shell cannot set" ;;
    esac
    eval "_env$count=\\$value"
    variables="$variables _env$count"
    count=$((count - 1))
    shift
  done
  count=$#
  while [ $count -gt 0 ]; do
    decode "$1" || refuse bad-request "an argument is badly encoded"
    shift
    set -- "$@" "$value"
    count=$((count - 1))
  done

  mkfifo $dir/in $dir/out $dir/err || refuse failed "the guest has no room left in /run"
  command exec 8>$ports/twinmetal.out.$slot 9>$ports/twinmetal.err.$slot || refuse no-port "the ports of slot $slot cannot be opened"
  feeder=
  if [ "$stdin" = 1 ]; then
    command exec 7<$ports/twinmetal.in.$slot || refuse no-port "the ports of slot $slot cannot be opened"
    feed <&7 3>&- 7<&- 8>&- 9>&- &
    feeder=$!
    exec 7<&-
  fi
  cat <$dir/out >&8 3>&- 8>&- 9>&- &
  relay_out=$!
  cat <$dir/err >&9 3>&- 8>&- 9>&- &
  relay_err=$!
  echo "$self $feeder $relay_out $relay_err" >$dir/workers
  exec 8>$dir/out 9>$dir/err
  echo $nonce >&8
  echo $nonce >&9
  (
    read -r pid rest </proc/self/stat
    echo $pid >$dir/pid
    echo "started $id $pid" >&3
    exec 3>&-
    if [ "$stdin" = 1 ]; then exec <$dir/in; else exec </dev/null; fi
    exec >&8 2>&9 8>&- 9>&-
    command cd "$directory" 2>/dev/null || {
      echo "twinmetal: the directory $directory cannot be entered" >&2
      exit 126
    }
    for variable in $variables; do eval "export \\"\\$$variable\\""; done
    become "$@"
  )
  status=$?
  rm -f $dir/pid
  trap '' PIPE
  echo "exit $id $status" >&3
  echo $nonce >&8
  echo $nonce >&9
  exec 8>&- 9>&-
  read -r word
  for pid in $relay_out $relay_err $feeder; do is_child $pid && kill -KILL $pid; done
  wait
  rm -rf $dir
  echo "freed $id" >&3
}

owns_slot() {
  case $2 in [0-3]) read -r owner <$run/slot$2/id && [ "$owner" = "$1" ] ;; *) return 1 ;; esac
}

kill_slot() {
  read -r pid <$run/slot$1/pid || return
  kill -s $2 -- -$pid || kill -s $2 $pid
}

free_slot() {
  case $1 in
    0) echo free >&4; exec 4>&- ;;
    1) echo free >&5; exec 5>&- ;;
    2) echo free >&6; exec 6>&- ;;
    3) echo free >&7; exec 7>&- ;;
  esac
}

# A new host session: what an earlier one left running ends. A repeated hello of the same session only gets its answer.
hello() {
  if [ "$3" != "$session" ]; then
    for slot in 0 1 2 3; do end_slot $slot; done
    session=$3
  fi
  read -r kernel </proc/sys/kernel/osrelease
  echo "hello $1 1 4 $kernel" >&3
}

end_slot() {
  [ -d $run/slot$1 ] || return
  kill_slot $1 KILL
  free_slot $1
  tries=500
  while [ -d $run/slot$1 ] && [ $tries -gt 0 ]; do
    usleep 10000
    tries=$((tries - 1))
  done
}

start() {
  [ $# -ge 7 ] && is_number $1 && owner= || { echo "error $1 bad-request exec needs seven words or more" >&3; return; }
  case $2 in [0-3]) ;; *) echo "error $1 bad-request there is no slot $2" >&3; return ;; esac
  mkdir $run/slot$2 || { echo "error $1 busy slot $2 is in use" >&3; return; }
  echo $1 >$run/slot$2/id
  [ -e $ports/twinmetal.in.$2 ] && [ -e $ports/twinmetal.out.$2 ] && [ -e $ports/twinmetal.err.$2 ] || link_ports
  case $2 in
    0) exec 4> >(supervise "$@") ;;
    1) exec 5> >(supervise "$@") ;;
    2) exec 6> >(supervise "$@") ;;
    3) exec 7> >(supervise "$@") ;;
  esac
}

answer() {
  if [ $1 = 0 ]; then echo "ok $2" >&3; else echo "error $2 $3 $4" >&3; fi
}

handle() {
  verb=$1 sequence=$2
  is_number "$sequence" || return
  shift 2
  case $verb in
    hello) hello $sequence "$@" ;;
    exec) start $sequence "$@" ;;
    kill)
      case $3 in '' | *[!A-Z0-9]*) answer 1 $sequence bad-request "no such signal"; return ;; esac
      owns_slot "$1" "$2" && kill_slot $2 $3
      answer $? $sequence gone "the command has ended"
      ;;
    free) owns_slot $sequence "$1" && free_slot $1 ;;
    hostname) decode "$1" && hostname "$value"; answer $? $sequence failed "the host name was refused" ;;
    seed) echo "$1" | base64 -d >/dev/urandom; answer $? $sequence failed "the seed was refused" ;;
    clock) is_number "$1" && date -s "@$1"; answer $? $sequence failed "the clock was refused" ;;
    term) decode "$1" && echo "$value" >$run/term; answer $? $sequence failed "the terminal name was refused" ;;
    winsize)
      read -r tty <$run/tty
      is_number "$1" && is_number "$2" && stty -F /dev/$tty rows $1 cols $2
      answer $? $sequence failed "the window size was refused"
      ;;
    sync) sync; answer 0 $sequence ;;
    poweroff | reboot) answer 0 $sequence; /etc/twinmetal/power $verb ;;
    *) answer 1 $sequence unknown "this agent does not know $verb" ;;
  esac
}

load_modules
has_virtio_device 0x0003 || exec sleep 2147483647
until [ -c $ports/twinmetal.ctl ]; do
  link_ports
  [ -c $ports/twinmetal.ctl ] || usleep 10000
done
# What a former agent has left still holds the ports.
for slot in 0 1 2 3; do
  kill_slot $slot KILL
  read -r workers <$run/slot$slot/workers && kill -KILL $workers
  rm -rf $run/slot$slot
done
until command exec 3<>$ports/twinmetal.ctl; do usleep 10000; done
while :; do
  if read -r line <&3; then
    set -f
    set -- $line
    set +f
    handle "$@"
    line=
  else
    usleep 20000
  fi
done
`;
