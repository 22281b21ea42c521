/** Files by QEMU's guest agent: opened, moved in parts that fit a line, and closed whatever happens. */
import { randomBytes } from "node:crypto";
import { AgentError, printable } from "./agent-error.ts";
import { jsonText } from "./command-words.ts";
import type { AgentCall, Bytes, RunResult } from "./guest-agent.ts";
import type { QemuAgentLink } from "./qemu-agent-link.ts";
import { readCount, readFilePart, readWhole } from "./qemu-answers.ts";

/** Of a file in one request; with base64 it is a third more. */
const PART_BYTES = 192 * 1024;
const CLOSE_TIMEOUT_MS = 5000;

export interface FileWriter {
  readonly link: QemuAgentLink;
  run(command: readonly string[], options: AgentCall): Promise<RunResult>;
}

export async function readGuestFile(
  link: QemuAgentLink,
  path: Bytes,
  maxBytes: number,
  signal: AbortSignal | undefined,
): Promise<Buffer> {
  const name = jsonText(path, "The path");
  return await withOpen(link, name, "r", "read", signal, async (handle) => {
    const parts: Buffer[] = [];
    let sizeBytes = 0;
    // A part without bytes that is not the end either: an agent that could go on so for ever.
    for (let empty = 0; empty < 8; ) {
      const answer = await link.request("guest-file-read", { handle, count: PART_BYTES }, { signal });
      const { bytes, isEnd } = readFilePart(answer, PART_BYTES);
      sizeBytes += bytes.length;
      if (sizeBytes > maxBytes) {
        throw new AgentError("AGENT_TOO_LARGE", `${printable(name)} is over the limit of ${maxBytes} bytes.`);
      }
      parts.push(bytes);
      if (isEnd) return Buffer.concat(parts, sizeBytes);
      empty = bytes.length === 0 ? empty + 1 : 0;
    }
    throw new AgentError("AGENT_PROTOCOL", "The guest's agent reads a file and comes to no end.");
  });
}

/** Into a file beside it that nobody else can read, which then takes its name. */
export async function writeGuestFile(
  { link, run }: FileWriter,
  path: Bytes,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  mode: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const name = jsonText(path, "The path");
  const part = `${name}.${randomBytes(6).toString("hex")}.part`;
  const shell = async (script: string, ...words: readonly string[]): Promise<void> => {
    const { exitCode, stderr } = await run(["/bin/sh", "-c", script, "put", ...words], { signal });
    if (exitCode === 0) return;
    const why = printable(stderr.subarray(0, 400).toString("utf8").trim()) || `status ${exitCode}`;
    throw new AgentError("AGENT_FILE", `${printable(name)} in the guest could not be written: ${why}.`);
  };
  await shell('umask 077; set -C; : >"$1"', part);
  try {
    await withOpen(link, part, "w", "written", signal, async (handle) => {
      for await (const bytes of pieces(content)) {
        const request = { handle, "buf-b64": bytes.toString("base64"), count: bytes.length };
        const written = readCount(await link.request("guest-file-write", request, { signal }), "guest-file-write");
        if (written === bytes.length) continue;
        throw new AgentError("AGENT_FILE", `${printable(name)} in the guest could not be written: it is full.`);
      }
      await link.request("guest-file-flush", { handle }, { signal });
    });
    await shell('chmod "$2" "$1" && mv -f -- "$1" "$3"', part, (mode & 0o7777).toString(8), name);
  } catch (error) {
    await run(["/bin/sh", "-c", 'rm -f -- "$1"', "put", part], {}).catch(() => {}); // The agent may be gone.
    throw error;
  }
}

async function withOpen<T>(
  link: QemuAgentLink,
  path: string,
  mode: "r" | "w",
  what: string,
  signal: AbortSignal | undefined,
  action: (handle: number) => Promise<T>,
): Promise<T> {
  const asFileError = (error: unknown): unknown => {
    if (!(error instanceof AgentError) || error.code !== "AGENT_REFUSED") return error;
    const why = error.message.replace(/^.*?: /, "");
    return new AgentError("AGENT_FILE", `${printable(path)} in the guest could not be ${what}: ${why}`, {
      cause: error,
    });
  };
  try {
    const handle = readWhole(await link.request("guest-file-open", { path, mode }, { signal }), "guest-file-open");
    try {
      return await action(handle);
    } finally {
      // One that does not close it has lost it: the error of before counts, or what was read.
      await link.request("guest-file-close", { handle }, { timeoutMs: CLOSE_TIMEOUT_MS }).catch(() => {});
    }
  } catch (error) {
    throw asFileError(error);
  }
}

async function* pieces(content: Uint8Array | AsyncIterable<Uint8Array>): AsyncGenerator<Buffer> {
  for await (const bytes of content instanceof Uint8Array ? [content] : content) {
    for (let at = 0; at < bytes.length; at += PART_BYTES) yield Buffer.from(bytes.subarray(at, at + PART_BYTES));
  }
}
