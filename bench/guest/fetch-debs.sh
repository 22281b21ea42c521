#!/bin/bash
# fetch-debs.sh WORKDIR [--with-32bit] : fetch and unpack (never install) the guest's Debian packages and kernel.
# Needs no privileges and no system package lists: apt gets its own directories under WORKDIR/apt.
# Versions: the newest that amd64 and i386 both have, so that the 64-bit guest is the same with and without the
# flag. They are written to WORKDIR/versions.txt; where that file is already there, exactly those are fetched.
set -eu
W=${1:?usage: $0 WORKDIR [--with-32bit]}; mkdir -p "$W"; W=$(readlink -f "$W"); A="amd64"; [ "${2:-}" = --with-32bit ] && A="amd64 i386"
MIRROR=${MIRROR:-$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | grep -v '^ *#' | grep -Eo 'https?://[^ ]+' | grep -v security | head -n 1)}
[ -n "$MIRROR" ] || { echo "no Debian mirror in /etc/apt: set MIRROR=URL"; exit 1; }
SUITE=${SUITE:-bookworm}   # the point release only: no security suite, so versions rarely move
KEYRING=${KEYRING:-/usr/share/keyrings/debian-archive-keyring.gpg}      # package debian-archive-keyring
P="libc6 libssl3 openssl xz-utils liblzma5 zstd libgcc-s1 liblz4-1 libstdc++6 zlib1g gzip bzip2 libbz2-1.0 sqlite3 libreadline8 libsqlite3-0 libtinfo6 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib libexpat1 perl-base libcrypt1 7zip busybox-static"
mkdir -p "$W"/apt/{lists/partial,cache/archives/partial,state} "$W"/debs{64,32} "$W"/x64 "$W"/k64; : > "$W/apt/status"
cat > "$W/apt/sources.list" <<S
deb [signed-by=$KEYRING] $MIRROR $SUITE main
S
cat > "$W/apt/apt.conf" <<C
Dir::State "$W/apt/state"; Dir::State::Lists "$W/apt/lists"; Dir::State::status "$W/apt/status"; Dir::Cache "$W/apt/cache";
Dir::Etc::sourcelist "$W/apt/sources.list"; Dir::Etc::sourceparts "/dev/null"; Dir::Etc::preferences "/dev/null"; Dir::Etc::preferencesparts "/dev/null";
APT::Architecture "amd64"; APT::Architectures { "amd64"; "i386"; }; Dir::Cache::pkgcache "pkgcache.bin"; Dir::Cache::srcpkgcache "srcpkgcache.bin"; Acquire::Languages "none"; Debug::NoLocking "1"; Acquire::Retries "3";
C
[ "$(id -u)" = 0 ] && echo 'APT::Sandbox::User "root";' >> "$W/apt/apt.conf"
get() { apt-get -q -c "$W/apt/apt.conf" "$@"; }; cache() { apt-cache -c "$W/apt/apt.conf" "$@"; }
[ -n "$(ls "$W"/apt/lists/*Packages* 2>/dev/null)" ] || get update > "$W/apt/update.log" 2>&1 || { tail -5 "$W/apt/update.log"; rm -f "$W"/apt/lists/*Packages*; exit 1; }
if [ ! -s "$W/versions.txt" ]; then
  cache madison $(for p in $P; do echo $p:amd64 $p:i386; done) | awk -F' *[|] *' '{gsub(/ /,"",$1); sub(/:.*/,"",$1); n=split($3,s," "); print $1, $2, s[n-1]}' > "$W/apt/madison"
  for p in $P; do v=
    for x in $(awk -v p=$p '$1==p && $3=="amd64"{print $2}' "$W/apt/madison"); do
      grep -qxF "$p $x i386" "$W/apt/madison" && if [ -z "$v" ] || dpkg --compare-versions "$x" gt "$v"; then v=$x; fi; done
    [ -n "$v" ] || { echo "no version of $p that amd64 and i386 share" >&2; exit 1; }; echo "$p $v"; done > "$W/versions.tmp"
  for k in linux-image-cloud-amd64:amd64:64 linux-image-686:i386:32; do IFS=: read -r p a b <<<"$k"
    q=$(cache depends "$p:$a" | awk '/Depends: linux-image/{print $2; exit}'); q=${q%:*}; echo "kernel$b $q $(cache policy "$q:$a" | awk '/Candidate/{print $2}')"; done >> "$W/versions.tmp"
  mv "$W/versions.tmp" "$W/versions.txt"
fi
fetch() { # directory arch package version
  local f=$1/$3_${4/:/%3a}_$2.deb; [ -s "$f" ] || (cd "$1" && get download "$3:$2=$4" >/dev/null); [ -s "$f" ] || { echo "missing: $f"; exit 1; }; F=$f; }
for a in $A; do b=64; [ $a = i386 ] && b=32
  rm -rf "$W/x$b" "$W/k$b/x"; mkdir -p "$W/x$b" "$W/k$b"
  while read -r p v w; do case $p in
    kernel$b) fetch "$W/k$b" $a "$v" "$w"; dpkg-deb -x "$F" "$W/k$b/x"; cp "$W/k$b"/x/boot/vmlinuz-* "$W/vmlinuz$b"; rm -rf "$W/k$b/x";;
    kernel*) ;;
    *) fetch "$W/debs$b" $a "$p" "$v"; dpkg-deb -x "$F" "$W/x$b";; esac; done < "$W/versions.txt"
done
ls -l "$W"/vmlinuz*
