/**
 * What the tiny image's agent does by a command of its busybox, and how that command's output is read: network cards, and
 * file systems that stand still. (Requests of the agent's own are for what has to work without a free slot.)
 */
import { AgentError } from "./agent-error.ts";
import type { GuestInterface } from "./guest-agent.ts";
import { InterfaceList } from "./guest-interfaces.ts";

export const INTERFACES_SCRIPT: string = `
for card in /sys/class/net/*; do
  read -r mac <$card/address
  echo "card \${card##*/} $mac"
done
ip -o addr show`;

const ADDRESS_LINE = /^\d+: (\S+)\s+inet6? ([0-9a-fA-F.:]+)(?:\/(\d+))?\s/;

/** GUEST-CONTROLLED: lines that are none are left out. */
export function parseInterfaces(output: string): GuestInterface[] {
  const list = new InterfaceList();
  for (const line of output.split("\n")) {
    const [, name, mac] = /^card (\S+) ?(\S*)$/.exec(line) ?? [];
    if (name !== undefined) list.add(name, mac, []);
    const [, owner, address, length] = ADDRESS_LINE.exec(`${line} `) ?? [];
    if (owner === undefined || address === undefined) continue;
    const prefixLength = Number(length ?? (address.includes(":") ? 128 : 32));
    list.add(owner, undefined, [{ address, prefixLength }]);
  }
  return list.list();
}

const FROZEN_LIST = "/run/twinmetal/frozen";

/** Each disk once, wherever it is mounted; what cannot be frozen lets all go again. Says how many stand still. */
export const FREEZE_SCRIPT: string = `
f=${FROZEN_LIST}
[ -e $f ] && { wc -l <$f; exit; }
sync
: >$f || exit
seen=' '
while read -r device directory type options rest; do
  case $device in /dev/*) ;; *) continue ;; esac
  case ,$options, in *,rw,*) ;; *) continue ;; esac
  case $seen in *" $device "*) continue ;; esac
  seen="$seen$device "
  directory=$(printf %b "$directory")
  fsfreeze --freeze "$directory" && printf '%s\\n' "$directory" >>$f && continue
  while read -r directory; do fsfreeze --unfreeze "$directory"; done <$f
  rm -f $f
  exit 1
done </proc/mounts
wc -l <$f`;

export const THAW_SCRIPT: string = `
f=${FROZEN_LIST}
[ -e $f ] || { echo 0; exit; }
n=0
while read -r directory; do fsfreeze --unfreeze "$directory" && n=$((n + 1)); done <$f
rm -f $f
echo $n`;

export const FROZEN_SCRIPT: string = `[ -e ${FROZEN_LIST} ] && wc -l <${FROZEN_LIST} || echo 0`;

/** GUEST-CONTROLLED: a number, or AGENT_PROTOCOL. */
export function countOf(output: string): number {
  if (/^\d{1,12}$/.test(output)) return Number(output);
  throw new AgentError("AGENT_PROTOCOL", "The guest's agent answered with something that is no number.");
}
