/**
 * The loop around a machine in a web worker: slices for a few milliseconds, then a turn of the event loop, in which
 * messages arrive. It needs no shared memory, so it is the same with and without cross-origin isolation.
 *
 *   soon()  a message to itself      the next turn at once: HTML's timers wait 4 ms when they are nested, messages do not
 *   timer   an idle guest            until its next timer, or until a message comes
 *   nothing paused, over, or output that the page has not taken
 */

import { MemoryBlocks } from "../devices/memory-blocks.ts";
import { Uart16550 } from "../devices/uart-16550.ts";
import { JitEngine } from "../engine/jit-engine.ts";
import type { Translator } from "../jit/translator.ts";
import { createBoard, SERIAL_CHANNEL } from "../machine/board.ts";
import type { FileReference } from "../machine/file-reference.ts";
import { Machine } from "../machine/machine.ts";
import { engineRamOf } from "../machine/memory-size.ts";
import type { BootFiles } from "../machine/power-on.ts";
import { type MachineSpec, machineSpec } from "../machine/spec.ts";
import { sha256, toHex } from "../state/sha256.ts";
import {
  type CommandName,
  type FromMachine,
  MAX_PENDING_OUTPUT,
  type PlainError,
  type ToMachine,
  type VmEnd,
  type VmStart,
  type VmStats,
} from "./vm-protocol.ts";
import type { MessageTarget, WebWorkerScope } from "./web-platform.ts";

/** How long the event loop may have to wait. */
const TURN_MS = 8;
/** A longer sleep than a timer can be set to is as good as for ever. */
const MAX_SLEEP_MS = 2 ** 30;
const FIRST_OUTPUT_BYTES = 1024;

type Send = (message: FromMachine, transfer?: readonly ArrayBufferLike[]) => void;

/**
 * Takes over the scope's messages; the page's first one describes the machine. `startTranslator` is called if that one
 * translates.
 */
export function serveMachine(scope: WebWorkerScope, startTranslator: () => Translator): void {
  const send: Send = (message, transfer = []) => scope.postMessage(message, transfer);
  let loop: MachineLoop | undefined;
  scope.onmessage = ({ data }) => {
    const message = data as ToMachine;
    if (message.type !== "create") loop?.receive(message);
    else {
      try {
        loop = new MachineLoop(scope, message.start, send, startTranslator);
        send({ type: "created" });
      } catch (error) {
        send({ type: "created", error: plainError(error) });
      }
    }
  };
}

class MachineLoop {
  readonly #scope: WebWorkerScope;
  readonly #send: Send;
  readonly #machine: Machine;
  readonly #uart: Uart16550 | undefined;
  /** Messages to itself go in at one end and come out at the other. */
  readonly #bell: MessageTarget;
  #isRung = false;
  #timer: unknown;
  #typed: { readonly id: number; bytes: Uint8Array }[] = [];
  #output = new Uint8Array(FIRST_OUTPUT_BYTES);
  #outputLength = 0;
  #pendingOutput = 0;
  #hasEnded = false;
  readonly #counters = { slices: 0, turns: 0, busyMs: 0, outputBytes: 0 };

  constructor(scope: WebWorkerScope, start: VmStart, send: Send, startTranslator: () => Translator) {
    this.#scope = scope;
    this.#send = send;
    const spec = specOf(start);
    const { tscFrequencyHz, cpuFeatures, cpus } = spec;
    const sharedMemory = scope.crossOriginIsolated === true;
    const { tier = "auto" } = start;
    const engine = createEngine({
      tier,
      ...(tier === "auto" ? { translator: startTranslator() } : {}),
      ...engineRamOf(spec),
      hasVga: spec.vga !== undefined,
      tscFrequencyHz,
      cpuFeatures,
      cpus,
      sharedMemory,
    });
    this.#machine = new Machine({
      spec,
      memory: engine.memory,
      engine,
      createBoard: (wiring) => createBoard(wiring, start.files),
      output: (channel, bytes) => {
        if (channel === SERIAL_CHANNEL) this.#collect(bytes);
      },
      blocks: new MemoryBlocks(start.disks),
      wallNs: () => scope.performance.now() * 1e6,
      sliceNs: start.sliceNs,
    });
    this.#uart = this.#machine.board.devices.find((device) => device instanceof Uart16550);
    const { port1, port2 } = new scope.MessageChannel();
    this.#bell = port1;
    port2.onmessage = () => {
      this.#isRung = false;
      this.#turn();
    };
  }

  receive(message: Exclude<ToMachine, { type: "create" }>): void {
    switch (message.type) {
      case "command":
        this.#answer(message.id, message.name);
        break;
      case "serial":
        if (this.#hasEnded) this.#send({ type: "reply", id: message.id });
        else this.#typed.push({ id: message.id, bytes: message.bytes });
        break;
      case "taken":
        this.#pendingOutput -= message.sizeBytes;
        break;
    }
    this.#soon();
  }

  #soon(): void {
    if (this.#timer !== undefined) this.#scope.clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#isRung || !this.#canRun) return;
    this.#isRung = true;
    this.#bell.postMessage(0);
  }

  get #canRun(): boolean {
    return this.#machine.state === "running" && !this.#hasEnded && this.#pendingOutput <= MAX_PENDING_OUTPUT;
  }

  #turn(): void {
    if (!this.#canRun) return;
    const { performance } = this.#scope;
    const startMs = performance.now();
    let waitMs = 0;
    let endMs = startMs;
    this.#counters.turns++;
    try {
      do {
        waitMs = this.#slice();
        endMs = performance.now();
      } while (waitMs === 0 && endMs - startMs < TURN_MS && this.#outputLength < MAX_PENDING_OUTPUT && this.#canRun);
    } catch (error) {
      // A mistake of ours: the machine's state cannot be relied on any more.
      this.#end({ kind: "crashed", reason: `Twinmetal's machine failed: ${plainError(error).message}` });
    }
    this.#counters.busyMs += endMs - startMs;
    this.#flush();
    if (waitMs >= 1) this.#timer = this.#scope.setTimeout(() => this.#soon(), Math.min(waitMs, MAX_SLEEP_MS));
    else this.#soon();
  }

  /** Answers for how many milliseconds nothing will happen. */
  #slice(): number {
    this.#feed();
    this.#counters.slices++;
    const result = this.#machine.runSlice();
    switch (result.kind) {
      case "ran":
      case "debug":
        return 0;
      case "idle":
        return result.waitNs === undefined ? MAX_SLEEP_MS : Math.floor(result.waitNs / 1e6);
      case "blocked":
      case "replay-end":
        return MAX_SLEEP_MS;
      case "stopped": {
        const { crash, offReason } = this.#machine;
        if (crash) this.#end({ kind: "crashed", reason: crash.reason });
        else this.#end({ kind: "off", reason: offReason ?? "the guest turned itself off" });
        return 0;
      }
    }
  }

  /** Gives the serial port what its queue takes. */
  #feed(): void {
    let room = this.#typed.length > 0 ? (this.#uart?.inputRoom ?? 0) : 0;
    for (let first = this.#typed[0]; first !== undefined && room > 0; first = this.#typed[0]) {
      const part = first.bytes.subarray(0, room);
      if (part.length > 0) this.#machine.input(SERIAL_CHANNEL, part);
      room -= part.length;
      first.bytes = first.bytes.subarray(part.length);
      if (first.bytes.length > 0) break;
      this.#typed.shift();
      this.#send({ type: "reply", id: first.id });
    }
  }

  #collect(bytes: Uint8Array): void {
    const length = this.#outputLength + bytes.length;
    if (length > this.#output.length) {
      const larger = new Uint8Array(Math.max(this.#output.length * 2, length));
      larger.set(this.#output.subarray(0, this.#outputLength));
      this.#output = larger;
    }
    this.#output.set(bytes, this.#outputLength);
    this.#outputLength = length;
    this.#counters.outputBytes += bytes.length;
  }

  #flush(): void {
    if (this.#outputLength === 0) return;
    const bytes = this.#output.slice(0, this.#outputLength);
    this.#pendingOutput += bytes.length;
    this.#outputLength = 0;
    this.#send({ type: "output", bytes }, [bytes.buffer]);
  }

  #end(end: VmEnd): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#flush();
    for (const { id } of this.#typed) this.#send({ type: "reply", id });
    this.#typed = [];
    this.#send({ type: "end", end });
  }

  #answer(id: number, name: CommandName): void {
    try {
      const stats = this.#carryOut(name);
      this.#send({ type: "reply", id, ...(stats ? { stats } : {}) });
    } catch (error) {
      this.#send({ type: "reply", id, error: plainError(error) });
    }
  }

  #carryOut(name: CommandName): VmStats | undefined {
    const machine = this.#machine;
    switch (name) {
      case "start":
        machine.start();
        return undefined;
      case "pause":
        machine.pause();
        return undefined;
      case "resume":
        machine.resume();
        return undefined;
      case "reset":
        machine.requestPower("reset");
        return undefined;
      case "powerButton":
        machine.requestPower("button");
        return undefined;
      case "powerOff":
        this.#end({ kind: "off", reason: "turned off from outside" });
        return undefined;
      case "stats":
        return {
          retired: machine.retired,
          guestNs: machine.clock.nowNs(),
          events: machine.eventCount,
          memoryBytes: machine.spec.memoryBytes,
          ...this.#counters,
          ...machine.engine.stats(),
        };
    }
  }
}

function createEngine(options: ConstructorParameters<typeof JitEngine>[0]): JitEngine {
  try {
    return new JitEngine(options);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    const mib = options.memoryBytes / 2 ** 20;
    throw Object.assign(
      new Error(`The browser could not give ${mib} MiB of memory to the VM (${error.message}). Give it less.`),
      { code: "memory-unavailable" },
    );
  }
}

function specOf({ spec, files, commandLine }: VmStart): MachineSpec {
  const initrd = files.initrd && referenceOf(files.initrd);
  return machineSpec({
    ...spec,
    boot: { kernel: referenceOf(files.kernel), ...(initrd ? { initrd } : {}), commandLine },
  });
}

function referenceOf(bytes: BootFiles["kernel"]): FileReference {
  return { sha256: toHex(sha256(bytes)), sizeBytes: bytes.length };
}

/** The core's errors have codes; what has none is a mistake of ours. */
function plainError(error: unknown): PlainError {
  const { code, message, stack } = error as { code?: unknown; message?: string; stack?: string };
  return typeof code === "string"
    ? { code, message: message ?? "" }
    : { code: "internal", message: stack ?? `${error}` };
}
