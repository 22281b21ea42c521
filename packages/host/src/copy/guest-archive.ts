/**
 * The guest's side of a copy, through its agent and its own `tar`: with Twinmetal's agent the archive is a stream, with
 * QEMU's, whose commands have neither input nor output while they run, a file in the guest for the time being.
 *
 * What comes into the guest is unpacked in a new folder beside its place and moved when it is whole; the archive's last entry
 * tells that it is. Everything happens with the agent's rights, which are root's.
 */
import { printable } from "../agent/agent-error.ts";
import { AgentError, type AgentProcess, type GuestAgent } from "../agent/index.ts";

/** In the archive of `unpackInGuest`: what is copied is called 0, 1, 2, ... and then comes this. */
export const WHOLE = "whole";

const MAX_ANSWER_BYTES = 64 * 1024;
/** Of a file in the guest in one command, whose output QEMU's agent keeps up to 16 MiB. */
const PART_BYTES = 4 * 1024 * 1024;

/** $1 is the path. Leaves in the folder that it is in, with its name there in $b. */
const LOCATE = `
p=$1
[ -e "$p" ] || { echo "$p: there is no such file or folder" >&2; exit 1; }
r=$(readlink -f -- "$p") && b=\${r##*/}
[ -n "$b" ] || { echo "$p: name a folder in it" >&2; exit 1; }
cd -- "\${r%/*}/" || exit 1`;

const PACK = `${LOCATE}
exec tar -c -f - -- "./$b"`;

const PACK_ASIDE = `${LOCATE}
umask 077
t=$(mktemp /var/tmp/twinmetal-cp-XXXXXX 2>/dev/null || mktemp /tmp/twinmetal-cp-XXXXXX) || exit 1
tar -c -f "$t" -- "./$b" && echo "$t" || { s=$?; rm -f -- "$t"; exit "$s"; }`;

/** $1 is the target, $2 is 1 where it has to be a folder. Prints the new folder. */
const PREPARE = `
t=$1 wants=$2
case $t in */) wants=1;; esac
if [ -d "$t" ]; then p=$t
elif [ "$wants" = 1 ]; then echo "$t: there is no such folder" >&2; exit 1
else
  p=\${t%/*}/
  [ -d "$p" ] || { echo "$p: there is no such folder" >&2; exit 1; }
fi
umask 077
mktemp -d "$p/.twinmetal-cp-XXXXXX"`;

/** $1 is that folder, $2 the archive or "-", $3 the target; then names, for a target that is a folder. */
const UNPACK = `
place() {
  if [ -d "$1" ] && [ ! -L "$1" ]; then
    if [ -e "$2" ] || [ -L "$2" ]; then
      [ -d "$2" ] && [ ! -L "$2" ] || { echo "$2: is no folder" >&2; return 1; }
      for e in "$1"/* "$1"/.[!.]* "$1"/..?*; do
        [ -e "$e" ] || [ -L "$e" ] || continue
        place "$e" "$2/\${e##*/}" || return 1
      done
      return 0
    fi
  elif [ -d "$2" ] && [ ! -L "$2" ]; then echo "$2: is a folder" >&2; return 1
  fi
  mv -f -- "$1" "$2"
}
s=$1 a=$2 t=$3
shift 3
command -v tar >/dev/null || { echo "the guest has no tar" >&2; exit 127; }
tar -x -p -f "$a" -C "$s" || exit 1
[ -e "$s/${WHOLE}" ] || { echo "it was cut off" >&2; exit 1; }
if [ ! -d "$t" ]; then place "$s/0" "$t"; exit; fi
i=0
for n in "$@"; do
  place "$s/$i" "\${t%/}/$n" || exit 1
  i=$((i + 1))
done`;

interface Call {
  readonly signal: AbortSignal;
}

/** A file or a folder of the guest as a tar archive, whose first entry is it. Rejects with AgentError. */
export async function* packInGuest(agent: GuestAgent, path: string, { signal }: Call): AsyncGenerator<Uint8Array> {
  const { kind } = await agent.connect({ signal });
  if (kind === "twinmetal") {
    yield* packedStream(await agent.exec(["sh", "-c", PACK, "cp", path], { signal }), path);
    return;
  }
  const aside = await told(agent, "read", path, PACK_ASIDE, [path], signal);
  try {
    for (let part = 0; ; part++) {
      const command = ["dd", `if=${aside}`, `bs=${PART_BYTES}`, `skip=${part}`, "count=1"];
      const { exitCode, stdout } = await agent.run(command, { signal, maxOutputBytes: 2 * PART_BYTES });
      if (exitCode !== 0) throw failed("read", path, `dd ended with status ${exitCode}`);
      yield stdout;
      if (stdout.length < PART_BYTES) return;
    }
  } finally {
    await agent.run(["rm", "-f", "--", aside]).catch(() => {}); // The agent may be gone.
  }
}

async function* packedStream(process: AgentProcess, path: string): AsyncGenerator<Uint8Array> {
  const errors: Buffer[] = [];
  process.stderr.on("data", (bytes: Buffer) => void (errors.length < 16 && errors.push(bytes.subarray(0, 4096))));
  process.exited.catch(() => {}); // Told below, if anybody is still there.
  for await (const bytes of process.stdout as AsyncIterable<Uint8Array>) yield bytes;
  const status = await process.exited;
  if (status !== 0) throw failed("read", path, lastLine(Buffer.concat(errors)) || `tar ended with status ${status}`);
}

export interface UnpackPlan {
  /** A path of the guest. */
  readonly target: string;
  /** What the archive's 0, 1, 2, ... are called in a target that is a folder. */
  readonly names: readonly string[];
  /** The target is a folder, or that is an error. */
  readonly isIntoFolder: boolean;
}

/** All of it or, but for a guest that ends meanwhile, nothing. Rejects with AgentError. */
export async function unpackInGuest(
  agent: GuestAgent,
  { target, names, isIntoFolder }: UnpackPlan,
  content: AsyncIterable<Uint8Array>,
  { signal }: Call,
): Promise<void> {
  const { kind } = await agent.connect({ signal });
  const stage = await told(agent, "written", target, PREPARE, [target, isIntoFolder ? "1" : "0"], signal);
  try {
    const archive = kind === "twinmetal" ? "-" : `${stage}/archive`;
    if (kind !== "twinmetal") await agent.putFile(archive, content, { signal });
    const words = ["sh", "-c", UNPACK, "cp", stage, archive, target, ...names];
    const input = kind === "twinmetal" ? { input: content } : {};
    const { exitCode, stderr } = await agent.run(words, { signal, ...input, maxOutputBytes: MAX_ANSWER_BYTES });
    if (exitCode !== 0) throw failed("written", target, lastLine(stderr) || `status ${exitCode}`);
  } finally {
    await agent.run(["rm", "-rf", "--", stage]).catch(() => {}); // The agent may be gone.
  }
}

async function told(
  agent: GuestAgent,
  what: "read" | "written",
  path: string,
  script: string,
  words: readonly string[],
  signal: AbortSignal,
): Promise<string> {
  const command = ["sh", "-c", script, "cp", ...words];
  const { exitCode, stdout, stderr } = await agent.run(command, { signal, maxOutputBytes: MAX_ANSWER_BYTES });
  if (exitCode !== 0) throw failed(what, path, lastLine(stderr) || `status ${exitCode}`);
  const answer = stdout.toString("utf8").replace(/\n$/, "");
  // GUEST-CONTROLLED, and only given back to the guest.
  if (answer.startsWith("/") && !answer.includes("\0")) return answer;
  throw failed(what, path, "its shell answered something else than a path");
}

function lastLine(stderr: Buffer): string {
  return printable(stderr.toString("utf8").trimEnd().split("\n").at(-1)?.slice(0, 400) ?? "");
}

function failed(what: "read" | "written", path: string, why: string): AgentError {
  return new AgentError("AGENT_FILE", `${printable(path)} in the guest could not be ${what}: ${why}.`);
}
