// A machine with the real board whose processor a test starts itself: boot loaders, memory testers, firmware. Guests that
// compute get the virtual clock, so that a run is the same every time; those that wait on timers by polling get the host's.

import type { SegmentRegister, VcpuState } from "../../../packages/core/src/cpu/state.ts";
import { pressedKeys, typedText } from "../../../packages/core/src/devices/i8042/typing.ts";
import { screenText } from "../../../packages/core/src/devices/vga/screen-text.ts";
import { Vga } from "../../../packages/core/src/devices/vga/vga.ts";
import { JitEngine } from "../../../packages/core/src/engine/jit-engine.ts";
import { createBoard, DEBUG_CHANNEL, Machine, machineSpec, SERIAL_CHANNEL } from "../../../packages/core/src/index.ts";
import { KEYBOARD_CHANNEL } from "../../../packages/core/src/machine/board.ts";
import type { Board, BoardWiring } from "../../../packages/core/src/machine/board-interface.ts";
import type { FileReference } from "../../../packages/core/src/machine/file-reference.ts";
import type { ClockMode } from "../../../packages/core/src/machine/spec.ts";
import { sha256, toHex } from "../../../packages/core/src/state/sha256.ts";

const MIB = 2 ** 20;
const TEXT_BUFFER = 0xb8000;
const COLUMNS = 80;
const ROWS = 25;

export interface Pc {
  readonly machine: Machine;
  /** What the serial port has sent. */
  serial(): string;
  /** What the debug port has printed. */
  debug(): string;
  /** The text on the VGA's screen; without one the 25 lines where its buffer would be, which is plain RAM then. */
  screen(): string[];
  readonly vga: Vga | undefined;
  /** Types on the VGA's keyboard. */
  type(text: string): void;
  press(keys: string): void;
  write(address: number, bytes: Uint8Array): void;
  /** Power on; the processor's state may be changed before its first instruction. */
  start(change?: (state: VcpuState) => void): void;
  /** Runs until `done`, asked after each slice. False: the machine stopped or `seconds` of the host's time are over. */
  runUntil(done: () => boolean, seconds: number): boolean;
}

export interface PcOptions {
  readonly memoryMib: number;
  readonly clock?: ClockMode;
  /** Ends at 4 GiB; the processor starts in it. */
  readonly firmware?: Uint8Array;
  /** What the flash chip right below it holds. */
  readonly variables?: Uint8Array;
  /** A VGA and a keyboard; the VGA's BIOS. */
  readonly vga?: true | Uint8Array;
  /** Puts devices of the test's own beside the board's. */
  readonly wrap?: (board: Board, machine: () => Machine) => Board;
}

export function createPc({ memoryMib, clock = "virtual", firmware, variables, vga, wrap }: PcOptions): Pc {
  const spec = machineSpec({
    memoryBytes: memoryMib * MIB,
    clock,
    ...(firmware ? { firmware: reference(firmware) } : {}),
    ...(variables ? { variables: reference(variables) } : {}),
    ...(vga ? { vga: vga === true ? {} : { rom: reference(vga) } } : {}),
  });
  const engine = new JitEngine({
    memoryBytes: spec.memoryBytes,
    tscFrequencyHz: spec.tscFrequencyHz,
    sharedMemory: false,
    hasVga: vga !== undefined,
    ...(firmware ? { rom: firmware } : {}),
  });
  let serial = "";
  let debug = "";
  const boardOf = (wiring: BoardWiring): Board =>
    createBoard(wiring, undefined, variables, vga === true ? undefined : vga);
  const machine: Machine = new Machine({
    spec,
    memory: engine.memory,
    engine,
    createBoard: (wiring) => (wrap ? wrap(boardOf(wiring), () => machine) : boardOf(wiring)),
    output: (channel, bytes) => {
      if (channel === DEBUG_CHANNEL) debug += Buffer.from(bytes).toString("latin1");
      if (channel === SERIAL_CHANNEL) serial += Buffer.from(bytes).toString("latin1");
    },
    wallNs: () => Math.round(performance.now() * 1e6),
    sliceNs: clock === "virtual" ? 5_000_000 : 200_000,
  });
  const text = new Uint8Array(COLUMNS * ROWS * 2);
  const adapter = machine.board.devices.find((device) => device instanceof Vga);
  return {
    machine,
    serial: () => serial,
    debug: () => debug,
    vga: adapter,
    press: (keys) => machine.input(KEYBOARD_CHANNEL, pressedKeys(keys)),
    type: (keys) => machine.input(KEYBOARD_CHANNEL, typedText(keys)),
    screen: () => {
      if (adapter) return screenText(adapter.view) ?? [];
      machine.memory.read(TEXT_BUFFER, text);
      return Array.from({ length: ROWS }, (_, row) =>
        Array.from({ length: COLUMNS }, (_, column) => printable(text[(row * COLUMNS + column) * 2] ?? 0))
          .join("")
          .trimEnd(),
      );
    },
    write: (address, bytes) => {
      if (!machine.memory.write(address, bytes)) throw new RangeError(`no RAM at 0x${address.toString(16)}`);
    },
    start: (change) => {
      machine.start();
      if (!change) return;
      const state = machine.vcpu.getState();
      change(state);
      machine.vcpu.setState(state);
    },
    runUntil: (done, seconds) => {
      const end = performance.now() + seconds * 1000;
      while (performance.now() < end) {
        const { kind } = machine.runSlice();
        if (done()) return true;
        if (kind === "stopped") return false;
      }
      return false;
    },
  };
}

const reference = (file: Uint8Array): FileReference => ({ sha256: toHex(sha256(file)), sizeBytes: file.length });
const printable = (code: number): string => (code >= 0x20 && code < 0x7f ? String.fromCharCode(code) : " ");

/** A segment register as real mode loads it. */
export function realSegment(selector: number): SegmentRegister {
  return { selector, base: BigInt(selector * 16), limit: 0xffff, attributes: 0x93 };
}
