/**
 * What a debugger outside the guest asks of a vCPU, the same on every engine (Vcpu.debug): single steps, breakpoints in
 * front of instructions, watchpoints behind accesses. The guest cannot tell: its own debug registers read as it has left
 * them, though they do not act while `hardware` breakpoints are set, and its INT3 goes to its own handler.
 *
 * A run that begins where the last one has stopped for a breakpoint goes past it. Addresses are linear. An instruction
 * that repeats (REP) is one for each element. Left out: I/O breakpoints; steps are not taken into a handler: external
 * interrupts wait while `singleStep` is set, and so does a vCPU that is halted.
 */

export interface Breakpoint {
  /** instruction: the run ends in front of it. write, access: behind an instruction that wrote there, or read or wrote. */
  readonly on: "instruction" | "write" | "access";
  readonly address: bigint;
  /** Of what is watched; the address is a multiple of it. Default: 1. */
  readonly bytes?: 1 | 2 | 4 | 8;
}

export interface DebugRequest {
  /** A run is one instruction long. */
  readonly singleStep?: boolean;
  readonly hardware?: readonly Breakpoint[];
  /**
   * Instructions, many of them. On kvm INT3 stands there while the guest runs, and only where the address was mapped when
   * the run began: a guest that reads its own code sees it. On jit more than four in all make the guest slow.
   */
  readonly software?: readonly bigint[];
}

export type DebugStop =
  | { readonly kind: "step" }
  | { readonly kind: "breakpoint"; readonly address: bigint }
  | { readonly kind: "watchpoint"; readonly address: bigint };

export const MAX_HARDWARE_BREAKPOINTS = 4;
export const MAX_SOFTWARE_BREAKPOINTS = 1024;

/** A request, by what engines do differently. */
export interface DebugPlan {
  readonly isStepping: boolean;
  readonly hardware: readonly Breakpoint[];
  readonly software: ReadonlySet<bigint>;
  /** Of `hardware`. */
  readonly watchpoints: readonly Breakpoint[];
  /** In front of which a run ends, for breakpoints of either kind. */
  readonly instructions: ReadonlySet<bigint>;
}

/** Throws RangeError for what cannot be. */
export function debugPlan({ hardware = [], software = [], singleStep = false }: DebugRequest): DebugPlan {
  check(hardware, software);
  const isInstruction = ({ on }: Breakpoint): boolean => on === "instruction";
  const addresses = hardware.filter(isInstruction).map(({ address }) => address);
  return {
    isStepping: singleStep,
    hardware,
    software: new Set(software),
    watchpoints: hardware.filter((breakpoint) => !isInstruction(breakpoint)),
    instructions: new Set([...addresses, ...software]),
  };
}

function check(hardware: readonly Breakpoint[], software: readonly bigint[]): void {
  if (hardware.length > MAX_HARDWARE_BREAKPOINTS)
    throw new RangeError(`${hardware.length} hardware breakpoints; a processor has ${MAX_HARDWARE_BREAKPOINTS}`);
  if (software.length > MAX_SOFTWARE_BREAKPOINTS)
    throw new RangeError(`${software.length} software breakpoints; possible are ${MAX_SOFTWARE_BREAKPOINTS}`);
  for (const address of [...software, ...hardware.map((breakpoint) => breakpoint.address)])
    if (BigInt.asUintN(64, address) !== address) throw new RangeError(`${address} is no address`);
  for (const { on, address, bytes = 1 } of hardware) {
    if (on === "instruction" && bytes !== 1) throw new RangeError("a breakpoint on an instruction has no length");
    if (address % BigInt(bytes) !== 0n)
      throw new RangeError(
        `${bytes} bytes at 0x${address.toString(16)}: what is watched begins at a multiple of its size`,
      );
  }
}

const READ_WRITE = { instruction: 0n, write: 1n, access: 3n } as const;
const LENGTHS = { 1: 0n, 2: 1n, 8: 2n, 4: 3n } as const;
const DR7_FIXED = 0x400n;

/** DR7 for these breakpoints in DR0 and up (SDM vol. 3, 17.2.4). Precondition: at most four, checked. */
export function debugControl(breakpoints: readonly Breakpoint[]): bigint {
  return breakpoints.reduce((all, { on, bytes = 1 }, i) => {
    const fields = (LENGTHS[bytes] << 2n) | READ_WRITE[on];
    return all | (2n << BigInt(2 * i)) | (fields << BigInt(16 + 4 * i));
  }, DR7_FIXED);
}

/** What the bits 0 to 3 of DR6 say: a watchpoint before a breakpoint in front of the next instruction. */
export function debugStopOf(hits: number, breakpoints: readonly Breakpoint[]): DebugStop | undefined {
  const hit = breakpoints.filter((_, i) => (hits & (1 << i)) !== 0);
  const watched = hit.find(({ on }) => on !== "instruction");
  if (watched) return { kind: "watchpoint", address: watched.address };
  return hit[0] && { kind: "breakpoint", address: hit[0].address };
}

/** What it stops are vCPUs that take turns: throws RangeError where they run in parallel. */
export function refuseInParallel(request: DebugRequest | undefined): void {
  if (!request) return;
  throw new RangeError('a debugger stops vCPUs that take turns, not in parallel: create the VM with smp "turns"');
}
