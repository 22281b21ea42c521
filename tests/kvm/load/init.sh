#!/bin/busybox sh
# Process 1 of the Linux under load: the heart, and rounds without end. Each round compiles a program and runs it, then
# changes a database; all that comes out of it is known before (load-results.ts).
export PATH=/bin:/sbin:/usr/bin
/bin/busybox mkdir -p /proc /sys /dev /tmp
/bin/busybox --install -s
mount -t devtmpfs devtmpfs /dev
mount -t proc proc /proc
mount -t tmpfs tmpfs /tmp
exec </dev/null >/dev/ttyS0 2>&1
stty -onlcr </dev/ttyS0

wrong() {
  echo "WRONG $*"
}

# same NAME GOT FILE: what has to come out is the line in FILE.
same() {
  read -r wanted <$3
  [ "$2" = "$wanted" ] || wrong "$1 in round $round: $2, not $wanted"
}

cd /tmp
tcc -o beat /load/beat.c || wrong "the heart does not compile"
./beat &
round=0
while :; do
  seed=$((round % 16)) step=$((round % 64))
  [ $step = 0 ] && rm -f base*
  tcc -DSEED=$seed -o program /load/program.c || wrong "compiler in round $round"
  same program "$(./program)" /load/program/$seed
  sum=$(sha256sum program)
  [ -f program.$seed ] || echo "$sum" >program.$seed
  same compiler "$sum" program.$seed
  set -- $(sqlite3 base </load/base/$step.sql)
  same database "$*" /load/base/$step
  echo "round $round done"
  round=$((round + 1))
done
