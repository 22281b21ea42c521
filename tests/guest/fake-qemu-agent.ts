/**
 * QEMU's guest agent in memory, behind a port: reads requests a line at a time, answers in order, and has files and commands.
 * Written from the protocol's reference, not from the client. What it answers can be replaced, by command, with anything.
 */
import { FakePort } from "./fake-agent.ts";

type Args = Record<string, unknown>;
type Handler = (args: Args) => unknown;

/** The agent says nothing. */
export const SILENCE: unique symbol = Symbol("silence");

export class QemuError extends Error {
  readonly kind: string;

  constructor(message: string, kind = "GenericError") {
    super(message);
    this.kind = kind;
  }
}

export class FakeQemuAgent {
  readonly port: FakePort = new FakePort();
  /** Names of the commands that came, and their arguments. */
  readonly requests: { readonly name: string; readonly args: Args }[] = [];
  readonly files = new Map<string, Buffer>();
  readonly disabled = new Set<string>();
  /** Replaces what a command does. Bytes are said as they are. */
  readonly overrides: Record<string, Handler> = {};
  /** Not even a sync is answered. */
  isDeaf = false;
  /** What a command does: its words behind the shell's script and the directory. */
  program: (words: string[], input: Buffer, env: string[]) => Args = () => ({ exited: true, exitcode: 0 });
  readonly killed: string[][] = [];
  #text = Buffer.alloc(0);
  #isFrozen = false;
  #timeNs = 1_700_000_000_123_000_000;
  #pid = 100;
  #nextHandle = 1000;
  readonly #runs = new Map<number, Args>();
  readonly #open = new Map<number, { path: string; at: number }>();

  constructor() {
    this.port.onGuestData = (bytes) => this.#hear(Buffer.from(bytes));
  }

  say(value: unknown): void {
    if (typeof value === "string") this.port.fromGuest(Buffer.from(value));
    else if (value instanceof Uint8Array) this.port.fromGuest(value);
    else this.port.fromGuest(Buffer.from(`${JSON.stringify(value)}\n`));
  }

  get openFiles(): number {
    return this.#open.size;
  }

  names(): string[] {
    return this.requests.map(({ name }) => name);
  }

  #hear(bytes: Buffer): void {
    this.#text = Buffer.concat([this.#text, bytes]);
    for (let end = this.#text.indexOf(10); end >= 0; end = this.#text.indexOf(10)) {
      const line = this.#text.subarray(0, end);
      this.#text = this.#text.subarray(end + 1);
      const at = line.lastIndexOf(0xff);
      if (at >= 0 && !this.isDeaf) this.say({ error: { class: "GenericError", desc: "JSON parse error" } });
      this.#handle(line.subarray(at + 1).toString());
    }
  }

  #handle(text: string): void {
    if (this.isDeaf) return;
    const { execute: name, arguments: args = {} } = JSON.parse(text) as { execute: string; arguments?: Args };
    this.requests.push({ name, args });
    try {
      const answer = this.#answer(name, args);
      if (answer === SILENCE) return;
      this.say(answer instanceof Uint8Array ? answer : { return: answer });
    } catch (error) {
      const { message, kind } = error as QemuError;
      this.say({ error: { class: kind, desc: message } });
    }
  }

  #answer(name: string, args: Args): unknown {
    if (this.disabled.has(name)) throw new QemuError(`Command ${name} has been disabled`, "CommandNotFound");
    const override = this.overrides[name];
    if (override !== undefined) return override(args);
    switch (name) {
      case "guest-sync-delimited":
        return syncAnswer(Number(args["id"]));
      case "guest-info":
        return { version: "7.2.22", supported_commands: this.#commands() };
      case "guest-get-osinfo":
        return {
          id: "debian",
          "pretty-name": "Debian 12",
          "kernel-release": "6.1.0",
          machine: "x86_64",
          version: "12",
        };
      case "guest-exec":
        return { pid: this.#exec(args) };
      case "guest-exec-status":
        return this.#status(Number(args["pid"]));
      case "guest-file-open":
        return this.#openFile(String(args["path"]), String(args["mode"]));
      case "guest-file-read":
        return this.#read(Number(args["handle"]), Number(args["count"]));
      case "guest-file-write":
        return this.#write(Number(args["handle"]), String(args["buf-b64"]));
      case "guest-file-flush":
        return {};
      case "guest-file-close":
        this.#open.delete(Number(args["handle"]));
        return {};
      case "guest-network-get-interfaces":
        return [
          {
            name: "eth0",
            "hardware-address": "52:54:00:12:34:56",
            "ip-addresses": [
              { "ip-address": "10.0.2.15", "ip-address-type": "ipv4", prefix: 24 },
              { "ip-address": "fe80::1", "ip-address-type": "ipv6", prefix: 64 },
            ],
          },
        ];
      case "guest-fsfreeze-freeze":
        this.#isFrozen = true;
        return 2;
      case "guest-fsfreeze-thaw":
        return this.#thaw();
      case "guest-fsfreeze-status":
        return this.#isFrozen ? "frozen" : "thawed";
      case "guest-get-time":
        return this.#timeNs;
      case "guest-set-time":
        this.#timeNs = Number(args["time"]);
        return {};
      case "guest-shutdown":
        return SILENCE;
      default:
        throw new QemuError(`The command ${name} has not been found`, "CommandNotFound");
    }
  }

  #commands(): Args[] {
    const names = [
      "sync-delimited info get-osinfo exec exec-status file-open file-read file-write file-flush file-close",
      "network-get-interfaces fsfreeze-freeze fsfreeze-thaw fsfreeze-status get-time set-time shutdown",
    ];
    return names
      .join(" ")
      .split(" ")
      .map((name) => ({
        name: `guest-${name}`,
        enabled: !this.disabled.has(`guest-${name}`),
        "success-response": true,
      }));
  }

  #thaw(): number {
    const count = this.#isFrozen ? 2 : 0;
    this.#isFrozen = false;
    return count;
  }

  #exec(args: Args): number {
    const [, script = "", ...words] = args["arg"] as string[];
    const pid = this.#pid++;
    const input = Buffer.from(String(args["input-data"] ?? ""), "base64");
    if (script.startsWith("kill ")) {
      this.killed.push(words.slice(1));
      const victim = this.#runs.get(Number(words[2]));
      if (victim) this.#runs.set(Number(words[2]), { exited: true, signal: 9 });
      this.#runs.set(pid, { exited: true, exitcode: 0 });
    } else if (words[2] === "/bin/sh" && words[5] === "put") {
      this.#runs.set(pid, this.#put(String(words[4]), words.slice(6)));
    } else {
      this.#runs.set(pid, this.program(words.slice(1), input, args["env"] as string[]));
    }
    return pid;
  }

  /** The few shell scripts by which files are moved. */
  #put(script: string, [part = "", , target = ""]: string[]): Args {
    if (script.includes("umask")) this.files.set(part, Buffer.alloc(0));
    if (script.includes("rm -f")) this.files.delete(part);
    if (script.includes("mv -f")) {
      this.files.set(target, this.files.get(part)!);
      this.files.delete(part);
    }
    return { exited: true, exitcode: 0 };
  }

  #status(pid: number): Args {
    const run = this.#runs.get(pid);
    if (run === undefined) throw new QemuError(`Invalid parameter 'pid'`);
    if (run["exited"] === true) this.#runs.delete(pid);
    return run;
  }

  #openFile(path: string, mode: string): number {
    if (!this.files.has(path)) throw new QemuError(`failed to open file '${path}' (mode: '${mode}'): No such file`);
    if (mode === "w") this.files.set(path, Buffer.alloc(0));
    this.#open.set(this.#nextHandle, { path, at: 0 });
    return this.#nextHandle++;
  }

  #read(handle: number, count: number): Args {
    const file = this.#open.get(handle)!;
    const bytes = this.files.get(file.path)!.subarray(file.at, file.at + count);
    file.at += bytes.length;
    return { count: bytes.length, "buf-b64": bytes.toString("base64"), eof: bytes.length < count };
  }

  #write(handle: number, data: string): Args {
    const { path } = this.#open.get(handle)!;
    const bytes = Buffer.from(data, "base64");
    this.files.set(path, Buffer.concat([this.files.get(path)!, bytes]));
    return { count: bytes.length, eof: false };
  }
}

/** The line of a sync's answer, with the byte in front of it. */
export function syncAnswer(id: number): Uint8Array {
  return Buffer.concat([Buffer.of(0xff), Buffer.from(`${JSON.stringify({ return: id })}\n`)]);
}
