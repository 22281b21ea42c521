/**
 * One debugger that is connected: what GDB's packets ask of a VM, in all-stop mode. Threads are vCPUs, from 1 on. Software and
 * hardware breakpoints are both the VM's own (engine/debugging.ts in core), so code in the guest stays as it is; watchpoints
 * are the processor's four. The VM is paused while GDB has the prompt, and runs while it waits.
 *
 * Left out: non-stop mode, signals into the guest, reverse execution, loading programs. A step is of the vCPU that has the turn,
 * whichever thread is selected; and 64-bit registers are shown whatever mode the guest is in.
 */
import type { Breakpoint, DebugRequest } from "@twinmetal/core";
import type { Vm, VmDebugStop } from "../vm/vm.ts";
import { VmError } from "../vm/vm-error.ts";
import { MAX_PACKET_BYTES } from "./gdb-packets.ts";
import { oneRegister, registerBytes, TARGET_DESCRIPTION, withRegister, withRegisters } from "./gdb-registers.ts";

/** A packet's answer; undefined: it comes when the VM stops. */
export type GdbAnswer = string | undefined;

const SUPPORTED = `PacketSize=${(MAX_PACKET_BYTES / 2).toString(16)};QStartNoAckMode+;qXfer:features:read+;hwbreak+;swbreak+`;
const MAX_READ_BYTES = MAX_PACKET_BYTES / 4;
const ERROR = "E01";
const SIGNAL = { INT: "02", TRAP: "05" } as const;
/** GDB's numbers of watchpoints. */
const WATCHED: Readonly<Record<string, Breakpoint["on"]>> = { "2": "write", "3": "access", "4": "access" };
const WATCH_NAMES = { write: "watch", access: "awatch" } as const;

export class GdbSession {
  readonly #vm: Vm;
  readonly #send: (data: string) => void;
  readonly #breakpoints = new Set<bigint>();
  readonly #watchpoints = new Map<string, Breakpoint>();
  /** Zero-based. */
  #selected = 0;
  #isRunning = false;
  readonly #unlisten: readonly (() => void)[];

  /** `send`: packets that answer nothing, as of a VM that has stopped. */
  constructor(vm: Vm, send: (data: string) => void) {
    this.#vm = vm;
    this.#send = send;
    this.#unlisten = [
      vm.on("debug", (stop) => this.#stopped(this.#describe(stop))),
      vm.on("exit", ({ kind }) => this.#stopped(kind === "crashed" ? "X0b" : "W00")),
    ];
  }

  /** The VM stands still for whoever has come. */
  async begin(): Promise<void> {
    if (this.#vm.state === "running") await this.#vm.pause();
  }

  /** Nobody is there any more: the VM goes on, and stops for nothing. */
  async end(): Promise<void> {
    for (const unlisten of this.#unlisten) unlisten();
    if (this.#vm.state !== "running" && this.#vm.state !== "paused") return;
    await this.#vm.debug.set(undefined);
    if (this.#vm.state === "paused") await this.#vm.resume();
  }

  async interrupt(): Promise<void> {
    if (!this.#isRunning) return;
    await this.#vm.pause();
    this.#stopped(`T${SIGNAL.INT}thread:${this.#selected + 1};`);
  }

  async answer(packet: string): Promise<GdbAnswer> {
    try {
      return await this.#answer(packet);
    } catch (error) {
      if (error instanceof VmError) return ERROR;
      throw error;
    }
  }

  async #answer(packet: string): Promise<GdbAnswer> {
    const rest = packet.slice(1);
    switch (packet[0]) {
      case "?":
        return `T${SIGNAL.TRAP}thread:${this.#selected + 1};`;
      case "g":
        return hex(registerBytes(await this.#state()));
      case "G":
        return await this.#write(withRegisters(await this.#state(), unhex(rest)));
      case "p": {
        const bytes = oneRegister(await this.#state(), Number.parseInt(rest, 16));
        return bytes ? hex(bytes) : ERROR;
      }
      case "P": {
        const [number = "", value = ""] = rest.split("=");
        return await this.#write(withRegister(await this.#state(), Number.parseInt(number, 16), unhex(value)));
      }
      case "m": {
        const [address, length] = numbers(rest);
        return await this.#read(address, Math.min(Number(length), MAX_READ_BYTES));
      }
      case "M":
        return await this.#store(rest, unhex);
      case "X":
        return await this.#store(rest, (data) => Buffer.from(data, "latin1"));
      case "Z":
      case "z":
        return await this.#breakpoint(packet[0] === "Z", rest);
      case "H":
        return this.#select(rest);
      case "T":
        return this.#isThread(rest) ? "OK" : ERROR;
      case "c":
        return await this.#go(() => this.#vm.resume());
      case "s":
        return await this.#step();
      case "v":
        return await this.#multiLetter(packet);
      case "D":
        await this.#vm.debug.set(undefined);
        await this.#vm.resume();
        return "OK";
      case "q":
      case "Q":
        return this.#query(packet);
      default:
        return "";
    }
  }

  async #multiLetter(packet: string): Promise<GdbAnswer> {
    if (packet === "vCont?") return "vCont;c;C;s;S";
    if (!packet.startsWith("vCont;")) return "";
    const isStep = /^s/i.test(packet.slice("vCont;".length));
    return isStep ? await this.#step() : await this.#go(() => this.#vm.resume());
  }

  #query(packet: string): string {
    if (packet.startsWith("qSupported")) return SUPPORTED;
    if (packet === "QStartNoAckMode") return "OK";
    if (packet === "qAttached") return "1";
    if (packet === "qC") return `QC${this.#selected + 1}`;
    if (packet === "qfThreadInfo") return `m${Array.from({ length: this.#vm.cpus.max }, (_, i) => i + 1).join()}`;
    if (packet === "qsThreadInfo") return "l";
    const thread = /^qThreadExtraInfo,([0-9a-f]+)$/.exec(packet);
    if (thread) return hex(Buffer.from(`vCPU ${Number.parseInt(thread[1]!, 16) - 1}`));
    const part = /^qXfer:features:read:target\.xml:([0-9a-f]+),([0-9a-f]+)$/.exec(packet);
    if (!part) return "";
    const [from, length] = [Number.parseInt(part[1]!, 16), Number.parseInt(part[2]!, 16)];
    const text = TARGET_DESCRIPTION.slice(from, from + length);
    return `${from + length < TARGET_DESCRIPTION.length ? "m" : "l"}${text}`;
  }

  #select(rest: string): string {
    // 0 and -1: any, all.
    if (rest.endsWith("-1") || /^[cg]0$/.test(rest)) return "OK";
    if (!this.#isThread(rest.slice(1))) return ERROR;
    if (rest.startsWith("g")) this.#selected = Number.parseInt(rest.slice(1), 16) - 1;
    return "OK";
  }

  #isThread(digits: string): boolean {
    const thread = Number.parseInt(digits, 16);
    return thread >= 1 && thread <= this.#vm.cpus.max;
  }

  #state(): ReturnType<Vm["debug"]["registers"]> {
    return this.#vm.debug.registers(this.#selected);
  }

  async #write(state: Awaited<ReturnType<Vm["debug"]["registers"]>> | undefined): Promise<string> {
    if (!state) return ERROR;
    await this.#vm.debug.setRegisters(state, this.#selected);
    return "OK";
  }

  /** Fewer bytes where memory ends on the way. */
  async #read(address: bigint, length: number): Promise<string> {
    const options = { vcpu: this.#selected };
    try {
      return hex(await this.#vm.debug.readMemory(address, length, options));
    } catch (error) {
      const left = 4096 - Number(address & 0xfffn);
      if (length <= left) throw error;
      return hex(await this.#vm.debug.readMemory(address, left, options));
    }
  }

  async #store(rest: string, decode: (data: string) => Uint8Array): Promise<string> {
    const colon = rest.indexOf(":");
    const [address, length] = numbers(rest.slice(0, colon));
    const bytes = decode(rest.slice(colon + 1));
    if (BigInt(bytes.length) !== length) return ERROR;
    if (bytes.length > 0) await this.#vm.debug.writeMemory(address, bytes, { vcpu: this.#selected });
    return "OK";
  }

  async #breakpoint(isSet: boolean, rest: string): Promise<string> {
    const [type = "", ...place] = rest.split(",");
    const [address, length] = numbers(place.join());
    const on = WATCHED[type];
    if (type !== "0" && type !== "1" && !on) return "";
    if (on) {
      if (![1n, 2n, 4n, 8n].includes(length)) return ERROR;
      if (isSet) this.#watchpoints.set(rest, { on, address, bytes: Number(length) as 1 | 2 | 4 | 8 });
      else this.#watchpoints.delete(rest);
    } else if (isSet) this.#breakpoints.add(address);
    else this.#breakpoints.delete(address);
    try {
      await this.#vm.debug.set(this.#request());
    } catch (error) {
      if (isSet) {
        this.#watchpoints.delete(rest);
        if (!on) this.#breakpoints.delete(address);
      }
      throw error;
    }
    return "OK";
  }

  #request(): DebugRequest | undefined {
    if (this.#breakpoints.size === 0 && this.#watchpoints.size === 0) return undefined;
    return { hardware: [...this.#watchpoints.values()], software: [...this.#breakpoints] };
  }

  async #step(): Promise<GdbAnswer> {
    const { isHalted } = await this.#vm.registers();
    // A step into HLT is over when something ends it: interrupts are held back while a step is taken.
    return await this.#go(() => (isHalted ? this.#vm.resume() : this.#vm.debug.step().then(() => {})));
  }

  async #go(start: () => Promise<void>): Promise<GdbAnswer> {
    this.#isRunning = true;
    try {
      await start();
    } catch (error) {
      this.#isRunning = false;
      throw error;
    }
    return undefined;
  }

  #stopped(reply: string): void {
    if (!this.#isRunning) return;
    this.#isRunning = false;
    this.#send(reply);
  }

  #describe({ kind, address, vcpu }: VmDebugStop): string {
    this.#selected = vcpu;
    const watched = [...this.#watchpoints.values()].find((breakpoint) => breakpoint.address === address);
    const isWatch = kind === "watchpoint" && watched && watched.on !== "instruction";
    const why = isWatch ? `${WATCH_NAMES[watched.on as "write" | "access"]}:${address!.toString(16)};` : "";
    return `T${SIGNAL.TRAP}thread:${vcpu + 1};${why}${kind === "breakpoint" ? "swbreak:;" : ""}`;
  }
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
const unhex = (digits: string): Uint8Array => Buffer.from(digits, "hex");

/** "ADDRESS,LENGTH" in hexadecimal digits. */
function numbers(text: string): readonly [address: bigint, length: bigint] {
  const match = /^([0-9a-f]{1,16}),([0-9a-f]{1,8})/.exec(text);
  if (!match) throw new VmError("bad-option", `GDB has sent ${JSON.stringify(text.slice(0, 40))}.`);
  return [BigInt(`0x${match[1]}`), BigInt(`0x${match[2]}`)];
}
