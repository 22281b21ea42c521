/** The VM object's side of debugging: asks the machine's thread (machine-debugger.ts), and hears of its stops. */
import type { DebugRequest, VcpuState } from "@twinmetal/core";
import type { DebugReport, MemoryPlace } from "./machine-debugger.ts";
import type { DebugMemoryOptions, VmDebugger, VmDebugStop } from "./vm.ts";
import { VmError } from "./vm-error.ts";
import type { CommandName, Commands } from "./worker-protocol.ts";

export interface DebuggedVm {
  command<K extends CommandName>(name: K, args: Commands[K]["args"]): Promise<Commands[K]["result"]>;
  resume(): Promise<void>;
  /** Why there is nothing to debug any more. */
  ended(): string | undefined;
  stopped(stop: VmDebugStop): void;
}

interface Waiter {
  readonly resolve: (stop: VmDebugStop) => void;
  readonly reject: (error: unknown) => void;
}

export class HostedDebugger implements VmDebugger {
  readonly #vm: DebuggedVm;
  readonly #waiters = new Set<Waiter>();
  #request: DebugRequest | undefined;

  constructor(vm: DebuggedVm) {
    this.#vm = vm;
  }

  async set(request: DebugRequest | undefined): Promise<void> {
    await this.#vm.command("debug", { request });
    this.#request = request;
  }

  async startPaused(): Promise<void> {
    await this.#vm.command("startPaused", undefined);
  }

  async step(): Promise<VmDebugStop> {
    return await this.#stopOf(() => this.#vm.command("step", undefined));
  }

  async continue(options: { timeoutMs?: number; signal?: AbortSignal } = {}): Promise<VmDebugStop> {
    return await this.#stopOf(() => this.#vm.resume(), options);
  }

  async registers(vcpu = 0): Promise<VcpuState> {
    return await this.#vm.command("vcpuState", { vcpu });
  }

  async setRegisters(state: VcpuState, vcpu = 0): Promise<void> {
    await this.#vm.command("setVcpuState", { vcpu, state });
  }

  async readMemory(address: bigint, length: number, options: DebugMemoryOptions = {}): Promise<Uint8Array> {
    return await this.#vm.command("readMemory", { place: placeOf(address, options), length });
  }

  async writeMemory(address: bigint, bytes: Uint8Array, options: DebugMemoryOptions = {}): Promise<void> {
    await this.#vm.command("writeMemory", { place: placeOf(address, options), bytes });
  }

  /** Another machine goes on with the guest. */
  async moved(): Promise<void> {
    if (this.#request) await this.#vm.command("debug", { request: this.#request });
  }

  onStop({ stop, vcpu }: DebugReport): void {
    const report: VmDebugStop = { ...stop, vcpu };
    for (const { resolve } of this.#waiters) resolve(report);
    this.#waiters.clear();
    this.#vm.stopped(report);
  }

  onEnd(reason: string): void {
    const error = new VmError("guest-ended", `The guest has ended: ${reason}.`);
    for (const { reject } of this.#waiters) reject(error);
    this.#waiters.clear();
  }

  async #stopOf(
    start: () => Promise<void>,
    { timeoutMs, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
  ): Promise<VmDebugStop> {
    signal?.throwIfAborted();
    const ended = this.#vm.ended();
    if (ended !== undefined) throw new VmError("guest-ended", `The guest has ended: ${ended}.`);
    let waiter!: Waiter;
    const stop = new Promise<VmDebugStop>((resolve, reject) => {
      waiter = { resolve, reject };
      this.#waiters.add(waiter);
    });
    stop.catch(() => {}); // Where `start` fails nobody waits.
    const onAbort = (): void => waiter.reject(signal?.reason);
    signal?.addEventListener("abort", onAbort, { once: true });
    const timer =
      timeoutMs === undefined
        ? undefined
        : setTimeout(() => {
            const error = new VmError("timeout", `The VM has not stopped within ${timeoutMs / 1000} s; it runs on.`);
            waiter.reject(error);
          }, timeoutMs);
    try {
      await start();
      return await stop;
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", onAbort);
      this.#waiters.delete(waiter);
    }
  }
}

function placeOf(address: bigint, { vcpu = 0, isPhysical = false }: DebugMemoryOptions): MemoryPlace {
  return { address, vcpu: isPhysical ? undefined : vcpu };
}
