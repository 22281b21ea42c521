/**
 * The guest's end of the agent protocol in memory, for tests of the host's end: ports that pass bytes on later, and an
 * agent whose commands are functions. It follows docs/reference/agent-protocol.md, not the client.
 */

import type { AgentPort, AgentPorts } from "../../packages/host/src/agent/agent-port.ts";
import { decodeWord } from "../../packages/host/src/agent/word-encoding.ts";

export class FakePort implements AgentPort {
  onData: ((bytes: Uint8Array) => void) | undefined;
  onGuestOpen: (() => void) | undefined;
  onGuestClose: (() => void) | undefined;
  isOpen = false;
  isFlowing = true;
  /** The guest's side. */
  onGuestData: ((bytes: Uint8Array) => void) | undefined;
  onHostClose: (() => void) | undefined;
  #toHost: Uint8Array[] = [];

  open(): void {
    this.isOpen = true;
  }

  async write(bytes: Uint8Array): Promise<void> {
    await new Promise((resolve) => setImmediate(resolve));
    if (this.isOpen) this.onGuestData?.(bytes);
  }

  close(when: "delivered" | "now"): void {
    if (!this.isOpen) return;
    this.isOpen = false;
    const notify = (): void => this.onHostClose?.();
    if (when === "now") notify();
    else setImmediate(notify);
  }

  setFlow(isFlowing: boolean): void {
    this.isFlowing = isFlowing;
    this.#deliver();
  }

  fromGuest(bytes: Uint8Array | string): void {
    this.#toHost.push(typeof bytes === "string" ? Buffer.from(bytes, "latin1") : bytes);
    setImmediate(() => this.#deliver());
  }

  #deliver(): void {
    while (this.isFlowing && this.#toHost.length > 0) this.onData?.(this.#toHost.shift()!);
  }
}

export interface FakeCommand {
  readonly argv: Buffer[];
  readonly env: Buffer[];
  readonly cwd: Buffer;
  out(bytes: Uint8Array | string): void;
  err(bytes: Uint8Array | string): void;
  /** Standard input up to its end. */
  input(): Promise<Buffer>;
  /** Resolves with the name of a signal. */
  readonly killed: Promise<string>;
}

export type FakeProgram = (command: FakeCommand) => Promise<number> | number;

export class FakeAgent implements AgentPorts {
  readonly #ports = new Map<string, FakePort>();
  readonly #programs: Record<string, FakeProgram>;
  readonly #busy = new Map<number, { id: string; kill: (signal: string) => void; free: () => void }>();
  readonly lines: string[] = [];
  /** Overrides answers by verb. */
  readonly answers: Record<string, (id: string) => string | undefined> = {};
  #line = "";
  mostAtOnce = 0;

  constructor(programs: Record<string, FakeProgram> = {}) {
    this.#programs = programs;
    this.port("twinmetal.ctl").onGuestData = (bytes) => this.#onControl(Buffer.from(bytes).toString("latin1"));
  }

  port(name: string): FakePort {
    let port = this.#ports.get(name);
    if (port === undefined) this.#ports.set(name, (port = new FakePort()));
    return port;
  }

  say(line: string): void {
    this.port("twinmetal.ctl").fromGuest(`${line}\n`);
  }

  #onControl(text: string): void {
    const lines = (this.#line + text).split("\n");
    this.#line = lines.pop() ?? "";
    for (const line of lines) {
      this.lines.push(line);
      this.#handle(line.split(" "));
    }
  }

  #handle([verb = "", id = "", ...words]: string[]): void {
    const override = this.answers[verb];
    if (override !== undefined) {
      const answer = override(id);
      if (answer !== undefined) this.say(answer);
    } else if (verb === "hello") this.say(`hello ${id} 1 4 6.1.0-test`);
    else if (verb === "exec") void this.#exec(id, words);
    else if (verb === "kill") {
      const command = this.#busy.get(Number(words[1]));
      if (command?.id !== words[0]) this.say(`error ${id} gone the command has ended`);
      else {
        command?.kill(words[2] ?? "");
        this.say(`ok ${id}`);
      }
    } else if (verb === "free") this.#busy.get(Number(words[0]))?.free();
    else this.say(`ok ${id}`);
  }

  async #exec(id: string, [slotWord = "", nonce = "", stdin = "", ...words]: string[]): Promise<void> {
    const slot = Number(slotWord);
    if (this.#busy.has(slot)) {
      this.say(`error ${id} busy slot ${slot} is in use`);
      return;
    }
    const decoded = words.map((word, index) => (index === 1 ? Buffer.from(word) : Buffer.from(decodeWord(word)!)));
    const count = Number(words[1]);
    const [out, err, input] = ["out", "err", "in"].map((kind) => this.port(`twinmetal.${kind}.${slot}`)) as [
      FakePort,
      FakePort,
      FakePort,
    ];
    let kill = (_signal: string): void => {};
    let free = (): void => {};
    const killed = new Promise<string>((resolve) => {
      kill = resolve;
    });
    const freed = new Promise<void>((resolve) => {
      free = resolve;
    });
    this.#busy.set(slot, { id, kill, free });
    this.mostAtOnce = Math.max(this.mostAtOnce, this.#busy.size);
    const received = stdin === "1" ? readInput(input, `${nonce}\n`) : Promise.resolve(Buffer.alloc(0));
    out.fromGuest(`${nonce}\n`);
    err.fromGuest(`${nonce}\n`);
    this.say(`started ${id} ${100 + slot}`);
    const argv = decoded.slice(2 + count);
    const program = this.#programs[argv[0]?.toString() ?? ""];
    const status = await (program?.({
      argv,
      env: decoded.slice(2, 2 + count),
      cwd: decoded[0]!,
      out: (bytes) => out.fromGuest(bytes),
      err: (bytes) => err.fromGuest(bytes),
      input: () => received,
      killed,
    }) ?? 127);
    this.say(`exit ${id} ${status}`);
    out.fromGuest(`${nonce}\n`);
    err.fromGuest(`${nonce}\n`);
    await freed;
    input.onGuestData = undefined;
    this.#busy.delete(slot);
    this.say(`freed ${id}`);
  }
}

function readInput(port: FakePort, mark: string): Promise<Buffer> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    port.onGuestData = (bytes) => chunks.push(Buffer.from(bytes));
    port.onHostClose = () => {
      const all = Buffer.concat(chunks);
      resolve(all.subarray(Math.min(all.length, all.indexOf(mark) + mark.length)));
    };
  });
}
