// Drives one tier of the CPU (interpreter, evaluator) as a subject: state in, one instruction, state out.

import { RF_ARITHMETIC } from "../../packages/core/src/cpu/flags.ts";
import * as L from "../../packages/core/src/cpu/layout.ts";
import { descriptorOf, LDT_DESCRIPTORS } from "./segments.ts";
import {
  CODE_END,
  CODE_FILL,
  type CpuCase,
  type CpuException,
  type CpuResult,
  type CpuSubject,
  changedWords,
  FLAG,
  FXSAVE,
  initialWindow,
} from "./subject.ts";
import { type Tier, UserMachine } from "./user-machine.ts";

const DEBUG_VECTOR = 1;
const PAGE_FAULT = 14;
const FETCH_FROM_ABSENT_PAGE = 0x14;
/** More than any REP instruction of a case needs: the window holds fewer bytes. */
const UNTIL_DONE_BUDGET = 1 << 20;

/** "trap": the instruction begins with TF set. "budget": without, as translated code runs, where that makes no difference. */
export type Stepping = "trap" | "budget";

export function tierSubject(name: string, tier: Tier, stepping: Stepping = "trap"): CpuSubject {
  const machine = new UserMachine(tier);
  return { name, step: (input) => step(machine, input, stepping) };
}

/** PUSHF, POPF and IRET move TF; a string's piece is one element under TF; a load of SS holds the trap back. */
const SEES_TRAP_FLAG = /^(?:[236]6|[23]e|6[4-7]|f[023]|4.)*(?:9[cd]|cf|a[4-7a-f]|6[c-f]|17|8e|0fb2)/;
const isAlike = ({ code }: CpuCase): boolean => !SEES_TRAP_FLAG.test(Buffer.from(code).toString("hex"));

function step(machine: UserMachine, input: CpuCase, stepping: Stepping): CpuResult {
  const { exports } = machine.tier;
  const isWithoutTrap = input.untilDone || (stepping === "budget" && isAlike(input));
  const before = initialWindow(input);
  machine.loadWindow(before);
  machine.reset(input.codeSize);
  if (input.selectors !== undefined) loadSegments(machine, input.selectors);
  machine.loadCode(input.code, CODE_FILL);
  for (let i = 0; i < 16; i++) machine.put(L.gpr(i), input.gpr[i]!);
  machine.put(L.RIP, input.rip);
  const image = Number(input.rflags);
  const withTrap = isWithoutTrap ? image & ~Number(FLAG.TF) : image | Number(FLAG.TF);
  machine.put(L.SYSTEM_FLAGS, withTrap & ~RF_ARITHMETIC);
  exports.write_arithmetic_flags(image);
  loadFxsave(machine, input.fxsave);
  exports.update_mode();
  exports.update_events();
  exports.run(input.untilDone ? UNTIL_DONE_BUDGET : 1);
  // The single-step trap is an event of its own, between two instructions.
  if (!machine.frame() && (input.untilDone || !isWithoutTrap)) exports.run(1);
  return result(machine, input, before, isWithoutTrap);
}

const SEGMENT_REGISTERS = [L.CS, L.SS, L.DS, L.ES, L.FS, L.GS];

function loadSegments(machine: UserMachine, selectors: readonly number[]): void {
  machine.setLdt(LDT_DESCRIPTORS);
  for (const [i, selector] of selectors.entries())
    machine.setSegment(SEGMENT_REGISTERS[i]!, selector, descriptorOf(selector));
}

function result(machine: UserMachine, input: CpuCase, before: Uint8Array, isWithoutTrap: boolean): CpuResult {
  const frame = machine.frame();
  const gpr = new BigUint64Array(16);
  for (let i = 0; i < 16; i++) gpr[i] = machine.get(L.gpr(i));
  if (frame) gpr[4] = frame.rsp;
  // As if TF were clear: what ends the run is the fetch of what follows.
  const ranOn = input.untilDone && frame?.vector === PAGE_FAULT && frame.errorCode === FETCH_FROM_ABSENT_PAGE;
  const isDone = frame?.vector === DEBUG_VECTOR || (ranOn && frame.rip === CODE_END);
  const exception: CpuException | null =
    !frame || isDone
      ? null
      : {
          vector: frame.vector,
          errorCode: frame.errorCode,
          cr2: frame.vector === PAGE_FAULT ? machine.get(L.CR2) : 0n,
        };
  const flags = frame ? frame.rflags : BigInt(machine.tier.exports.read_flags() >>> 0);
  const withoutRf = ranOn && isDone ? flags & ~FLAG.RF : flags;
  return {
    exception,
    rip: frame ? frame.rip : machine.get(L.RIP),
    rflags: isWithoutTrap ? withoutRf | FLAG.TF : withoutRf,
    gpr,
    fxsave: storeFxsave(machine),
    writes: changedWords(before, machine.window()),
    selectors: SEGMENT_REGISTERS.map((register, i) => {
      const inFrame = frame && [frame.cs, frame.ss][i];
      return inFrame ?? Number(machine.get(L.segSelector(register)));
    }),
  };
}

const u16 = (image: Uint8Array, at: number): number => (image[at] ?? 0) | ((image[at + 1] ?? 0) << 8);

function loadFxsave(machine: UserMachine, image: Uint8Array): void {
  const v = new DataView(image.buffer, image.byteOffset);
  const cpu = new Uint8Array(machine.tier.view.buffer, L.CPU_BASE, 0x1000);
  const top = (u16(image, FXSAVE.FSW) >> 11) & 7;
  machine.put(L.FCW, u16(image, FXSAVE.FCW));
  machine.put(L.FSW, u16(image, FXSAVE.FSW) & ~0x3800);
  machine.put(L.FTOP, top);
  machine.put(L.FTAG, image[FXSAVE.FTW]!);
  machine.put(L.FOP, u16(image, FXSAVE.FOP));
  machine.put(L.FIP, v.getBigUint64(FXSAVE.FIP, true));
  machine.put(L.FDP, v.getBigUint64(FXSAVE.FDP, true));
  machine.put(L.MXCSR, v.getUint32(FXSAVE.MXCSR, true));
  for (let i = 0; i < 8; i++) {
    const at = L.X87 + ((top + i) & 7) * 16;
    cpu.fill(0, at, at + 16);
    cpu.set(image.subarray(FXSAVE.ST + i * 16, FXSAVE.ST + i * 16 + 10), at);
  }
  cpu.set(image.subarray(FXSAVE.XMM, FXSAVE.XMM + 256), L.XMM);
}

function storeFxsave(machine: UserMachine): Uint8Array {
  const image = new Uint8Array(512);
  const v = new DataView(image.buffer);
  const cpu = new Uint8Array(machine.tier.view.buffer, L.CPU_BASE, 0x1000);
  const top = Number(machine.get(L.FTOP)) & 7;
  v.setUint16(FXSAVE.FCW, Number(machine.get(L.FCW)), true);
  v.setUint16(FXSAVE.FSW, Number(machine.get(L.FSW)) | (top << 11), true);
  v.setUint8(FXSAVE.FTW, Number(machine.get(L.FTAG)));
  v.setUint16(FXSAVE.FOP, Number(machine.get(L.FOP)), true);
  v.setBigUint64(FXSAVE.FIP, machine.get(L.FIP), true);
  v.setBigUint64(FXSAVE.FDP, machine.get(L.FDP), true);
  v.setUint32(FXSAVE.MXCSR, Number(machine.get(L.MXCSR)), true);
  for (let i = 0; i < 8; i++) {
    const at = L.X87 + ((top + i) & 7) * 16;
    image.set(cpu.subarray(at, at + 10), FXSAVE.ST + i * 16);
  }
  image.set(cpu.subarray(L.XMM, L.XMM + 256), FXSAVE.XMM);
  return image;
}
