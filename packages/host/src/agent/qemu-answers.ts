/**
 * What QEMU's guest agent answers, read as what it should be (QEMU's "Guest Agent Protocol Reference"). GUEST-CONTROLLED: a wrong
 * type or a wrong number is AGENT_PROTOCOL, lists are bounded, text is made harmless for a terminal.
 */
import { AgentError, printable } from "./agent-error.ts";
import type { GuestInterface, GuestOsInfo } from "./guest-agent.ts";
import { InterfaceList } from "./guest-interfaces.ts";

const MAX_LIST = 4096;
const MAX_TEXT_LENGTH = 256;

type Fields = Readonly<Record<string, unknown>>;

function wrong(what: string): AgentError {
  return new AgentError("AGENT_PROTOCOL", `The guest's agent answered ${what} with something else than it should.`);
}

function fields(value: unknown, what: string): Fields {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Fields;
  throw wrong(what);
}

function list(value: unknown, what: string): readonly unknown[] {
  if (Array.isArray(value)) return value.slice(0, MAX_LIST);
  throw wrong(what);
}

function text(value: unknown): string | undefined {
  return typeof value === "string" ? printable(value.slice(0, MAX_TEXT_LENGTH)) : undefined;
}

export function readWhole(value: unknown, what: string, max: number = Number.MAX_SAFE_INTEGER): number {
  if (typeof value === "number" && Number.isInteger(value) && value >= 0 && value <= max) return value;
  throw wrong(what);
}

/** At most `maxBytes` after decoding. */
function base64(value: unknown, what: string, maxBytes: number): Buffer {
  if (value === undefined) return Buffer.alloc(0);
  if (typeof value !== "string" || /[^A-Za-z0-9+/=]/.test(value)) throw wrong(what);
  const bytes = Buffer.from(value, "base64");
  if (bytes.length > maxBytes) throw wrong(what);
  return bytes;
}

export interface QemuInfo {
  readonly version: string;
  /** Those that it has. Whether one is enabled may change: none but a few are while file systems are frozen. */
  readonly commands: ReadonlySet<string>;
}

export function readInfo(answer: unknown): QemuInfo {
  const { version, supported_commands: commands } = fields(answer, "guest-info");
  const known = list(commands, "guest-info").flatMap((entry) => {
    const { name } = fields(entry, "guest-info");
    return typeof name === "string" ? [name] : [];
  });
  return { version: text(version) ?? "unknown", commands: new Set(known) };
}

export interface ExecStatus {
  readonly exitCode: number;
  readonly stdout: Buffer;
  readonly stderr: Buffer;
  readonly isCut: boolean;
}

/** Undefined: it still runs. */
export function readExecStatus(answer: unknown, maxBytes: number): ExecStatus | undefined {
  const what = "guest-exec-status";
  const status = fields(answer, what);
  if (typeof status["exited"] !== "boolean") throw wrong(what);
  if (!status["exited"]) return undefined;
  const { signal, exitcode } = status;
  const exitCode = signal === undefined ? readWhole(exitcode, what, 255) : 128 + readWhole(signal, what, 127);
  return {
    exitCode,
    stdout: base64(status["out-data"], what, maxBytes),
    stderr: base64(status["err-data"], what, maxBytes),
    isCut: status["out-truncated"] === true || status["err-truncated"] === true,
  };
}

export interface FilePart {
  readonly bytes: Buffer;
  readonly isEnd: boolean;
}

export function readFilePart(answer: unknown, maxBytes: number): FilePart {
  const what = "guest-file-read";
  const { "buf-b64": data, eof, count } = fields(answer, what);
  const bytes = base64(data, what, maxBytes);
  if (typeof eof !== "boolean" || readWhole(count, what) !== bytes.length) throw wrong(what);
  return { bytes, isEnd: eof };
}

export function readCount(answer: unknown, what: string): number {
  return readWhole(fields(answer, what)["count"], what);
}

export function readPid(answer: unknown): number {
  return readWhole(fields(answer, "guest-exec")["pid"], "guest-exec");
}

export function readInterfaces(answer: unknown): readonly GuestInterface[] {
  const what = "guest-network-get-interfaces";
  const interfaces = new InterfaceList();
  for (const entry of list(answer, what)) {
    const card = fields(entry, what);
    const { name, "hardware-address": mac, "ip-addresses": addresses = [] } = card;
    const told = list(addresses, what).flatMap((one) => {
      const { "ip-address": address, prefix } = fields(one, what);
      return typeof address === "string" && typeof prefix === "number" ? [{ address, prefixLength: prefix }] : [];
    });
    if (typeof name === "string") interfaces.add(name, typeof mac === "string" ? mac : undefined, told);
  }
  return interfaces.list();
}

export function readOsInfo(answer: unknown): GuestOsInfo {
  const told = fields(answer, "guest-get-osinfo");
  const entries = [
    ["id", text(told["id"])],
    ["name", text(told["pretty-name"]) ?? text(told["name"])],
    ["version", text(told["version"]) ?? text(told["version-id"])],
    ["kernelRelease", text(told["kernel-release"])],
    ["machine", text(told["machine"])],
  ] as const;
  return Object.fromEntries(entries.filter(([, value]) => value !== undefined));
}

export function readFreezeState(answer: unknown): boolean {
  if (answer !== "frozen" && answer !== "thawed") throw wrong("guest-fsfreeze-status");
  return answer === "frozen";
}
