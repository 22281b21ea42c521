// The pieces that programs are made of, by what is hard about them for a translator: loops, calls, jumps through tables,
// flags used far from where they were made, strings, code that changes itself, devices, traps.
//
// A piece keeps RSP, RBP and RSI, ends where it is left at its end, and may spoil all other registers but `spare`.

import type { Random } from "../cpu/random.ts";
import type { Assembler, Label } from "./assembler.ts";
import { entryAddress, type GuestEnvironment } from "./guest-kernel.ts";
import * as G from "./guest-layout.ts";
import { type Family, recordInstruction } from "./record-instruction.ts";

export interface Context {
  readonly code: Assembler;
  readonly random: Random;
  readonly environment: GuestEnvironment;
  /** Functions that may be called: they end with a return, and call only those before them. */
  readonly functions: readonly Label[];
  /** What straight code is made of here. */
  readonly family: Family;
  /** Loops around this piece. */
  readonly depth: number;
  readonly spare: readonly number[];
  /** Bytes of immediates that may change at any time. */
  readonly patches: number[];
}

type Piece = (c: Context) => void;

const RAX = 0;
const RCX = 1;
const RDX = 2;
const RBX = 3;
const RSI = 6;
const RDI = 7;
const NOT_CARRY = 3;
const NOT_ZERO = 5;
const SIGN = 8;
const GREATER = 15;
const FREE = [RAX, RCX, RDX, RBX, RDI] as const;
const REPEATS = [1, 2, 3, 5, 9, 17] as const;

/** A register that the piece may use besides straight code. */
function freeRegister(c: Context): number {
  return c.random.pick(FREE.filter((number) => !c.spare.includes(number)));
}

const keeping = (c: Context, ...registers: number[]): Context => ({ ...c, spare: [...c.spare, ...registers] });
const inside = (c: Context): Context => ({ ...c, depth: c.depth + 1 });

export function straight(c: Context, most = 5, family: Family = c.family): void {
  for (let count = c.random.below(most + 1); count > 0; count--)
    recordInstruction(c.code, c.random, { family, spare: c.spare });
}

function moveImmediate(c: Context, register: number, value: number): void {
  c.code.emit(0xb8 | register);
  c.code.u32(value);
}

/** Flags now, used only after other code: across loads that may fault, and across a jump. */
const farFlags: Piece = (c) => {
  const { code, random } = c;
  recordInstruction(code, random, { family: "integer", spare: c.spare });
  const [a, b] = [freeRegister(c), freeRegister(c)];
  // cmp, add, sub, test, shl, bt, neg: what makes flags
  const makers = [
    [0x39, 0xc0 | (a << 3) | b],
    [0x00, 0xc0 | (a << 3) | b],
    [0x66, 0x29, 0xc0 | (a << 3) | b],
    [0x85, 0xc0 | (a << 3) | b],
    [0xd1, 0xe0 | b],
    [0x0f, 0xa3, 0xc0 | (a << 3) | b],
    [0xf6, 0xd8 | b],
    [0x0f, 0xaf, 0xc0 | (a << 3) | b],
    [0xd3, 0xe0 | b],
    [0xff, 0xc0 | b],
  ];
  code.emit(...random.pick(makers));
  // mov, lea and SSE moves keep them.
  for (let count = random.below(4); count > 0; count--) {
    const register = freeRegister(c);
    const displacement = random.below(G.DATA_BYTES / 16 - 1) * 16 - G.DATA_POINTER_OFFSET;
    code.emit(...random.pick([[0x8b], [0x8d], [0x0f, 0x28], [0x8a]]), 0x85 | (register << 3));
    code.u32(displacement);
  }
  if (random.oneIn(2)) {
    const next = code.label();
    if (random.oneIn(2)) code.jump(next);
    else code.jumpIf(random.below(16), next);
    code.place(next);
  }
  for (let count = 1 + random.below(3); count > 0; count--)
    recordInstruction(code, random, { family: "flags", spare: c.spare });
  if (random.oneIn(3)) pushFlags(c);
};

/** pushf; pop register */
function pushFlags(c: Context): void {
  c.code.emit(0x9c, 0x58 | freeRegister(c));
}

const branch: Piece = (c) => {
  const { code, random } = c;
  straight(c, 3);
  const [other, end] = [code.label(), code.label()];
  code.jumpIf(random.below(16), other);
  straight(c, 3);
  if (random.oneIn(3)) piece(c);
  if (random.oneIn(2)) {
    code.jump(end);
    code.place(other);
    straight(c, 3);
    code.place(end);
  } else code.place(other);
};

/** push rsi; mov esi, n; L: ...; count towards zero, up or down; jump to L if not there; pop rsi */
const loop: Piece = (c) => {
  const { code, random } = c;
  const repeats = c.depth > 1 ? 2 : random.pick(REPEATS);
  const isUp = random.oneIn(3);
  code.emit(0x50 | RSI);
  moveImmediate(c, RSI, isUp ? -repeats : repeats);
  const again = code.mark();
  body(inside(c));
  if (isUp) {
    // add esi, 1: CF when it is done
    code.emit(0x83, 0xc0 | RSI, 1);
    code.jumpIf(random.pick([NOT_CARRY, NOT_ZERO]), again);
  } else {
    code.emit(
      ...random.pick([
        [0xff, 0xc8 | RSI],
        [0x83, 0xe8 | RSI, 1],
        [0x8d, 0x76, 0xff, 0x85, 0xf6],
      ]),
    );
    code.jumpIf(NOT_ZERO, again);
  }
  code.emit(0x58 | RSI);
};

function body(c: Context): void {
  straight(c, 4);
  for (let count = c.random.below(3 - Math.min(2, c.depth)) + (c.depth < 2 ? 1 : 0); count > 0; count--) piece(c);
  straight(c, 2);
}

/** mov ecx, n; L: ...; loop L, with the jump back through another one */
const countedLoop: Piece = (c) => {
  const { code, random } = c;
  if (c.spare.includes(RCX)) return;
  moveImmediate(c, RCX, random.pick(REPEATS));
  const again = code.mark();
  straight(keeping(inside(c), RCX), 5);
  // LOOPE and LOOPNE may leave early.
  code.emit(random.pick([0xe2, 0xe2, 0xe1, 0xe0]), 2, 0xeb, 5);
  code.jump(again);
};

/** A jump into the middle of a loop: two entries. */
const irreducible: Piece = (c) => {
  const { code, random } = c;
  const [middle, again] = [code.label(), code.label()];
  code.emit(0x50 | RSI);
  moveImmediate(c, RSI, random.pick(REPEATS));
  straight(c, 2);
  code.jumpIf(random.below(16), middle);
  code.place(again);
  straight(inside(c), 3);
  code.place(middle);
  straight(inside(c), 3);
  code.emit(0xff, 0xc8 | RSI);
  code.jumpIf(random.oneIn(2) ? GREATER : NOT_ZERO, again);
  code.emit(0x58 | RSI);
};

/**
 * Blocks that are entered anywhere and lead on, with calls in between and one way back: a loop with several entries, also
 * behind calls. One function is too long to be part of its callers' regions, and its device leaves the return to the
 * dispatcher. RSI counts.
 */
const tangle: Piece = (c) => {
  const { code, random } = c;
  if (c.depth > 1) return straight(c);
  const blocks = Array.from({ length: 3 + random.below(4) }, () => code.label());
  const [long, end] = [code.label(), code.label()];
  code.emit(0x50 | RSI);
  moveImmediate(c, RSI, 3 + random.below(40));
  code.jumpIf(random.below(16), random.pick(blocks));
  code.jump(random.pick(blocks));
  for (const [i, label] of blocks.entries()) {
    code.place(label);
    straight(inside(c), 2);
    code.emit(0xff, 0xc8 | RSI);
    code.jumpIf(SIGN, end);
    if (random.oneIn(2)) code.call(random.pick([...c.functions, long]));
    else if (i + 1 < blocks.length) code.jumpIf(random.below(16), random.pick(blocks.slice(i + 1)));
  }
  code.jumpIf(random.below(16), random.pick(blocks));
  code.jump(end);
  code.place(long);
  for (let count = 32; count > 0; count--) code.emit(0x90);
  device(inside(c));
  code.emit(0xc3);
  code.place(end);
  code.emit(0x58 | RSI);
};

const call: Piece = (c) => {
  const { code, random } = c;
  const target = random.pick(c.functions);
  if (target === undefined) return straight(c);
  const register = freeRegister(c);
  switch (random.below(4)) {
    case 0: // mov register, target; call register
      code.addressOf(target, 0xb8 | register);
      code.emit(0xff, 0xd0 | register);
      break;
    case 1: {
      // push the address of what follows; jmp target
      const back = code.label();
      code.addressOf(back, 0x68);
      code.jump(target);
      code.place(back);
      break;
    }
    case 2: {
      // The return address is changed on the way: push one more, and return to the function itself.
      const back = code.label();
      code.addressOf(back, 0x68);
      code.addressOf(target, 0x68);
      code.emit(0xc3);
      code.place(back);
      break;
    }
    default:
      code.call(target);
  }
};

/** and register, 3; jmp [table + register * word] */
const switchTable: Piece = (c) => {
  const { code, random } = c;
  const register = freeRegister(c);
  const cases = [code.label(), code.label(), code.label(), code.label()];
  const [table, end] = [code.label(), code.label()];
  code.emit(0x83, 0xe0 | register, 3);
  if (random.oneIn(2)) {
    code.addressOf(table, 0xff, 0x24, ((code.mode === 64 ? 3 : 2) << 6) | (register << 3) | 5);
  } else {
    code.addressOf(table, 0x8b, (register << 3) | 4, ((code.mode === 64 ? 3 : 2) << 6) | (register << 3) | 5);
    code.emit(0xff, 0xe0 | register);
  }
  code.place(table);
  for (const label of cases) {
    code.addressOf(label);
    if (code.mode === 64) code.u32(0);
  }
  for (const label of cases) {
    code.place(label);
    straight(c, 2);
    if (random.oneIn(2)) code.jump(end);
  }
  code.place(end);
};

/**
 * A loop of handlers, each of which ends by a jump of its own to one of all (threaded code), by a jump to the first jump, or
 * by a way into another handler; RSI counts.
 */
const handlers: Piece = (c) => {
  const { code, random } = c;
  if (c.depth > 1) return straight(c);
  const register = freeRegister(c);
  const count = 4;
  const all = Array.from({ length: count }, () => code.label());
  const middles = Array.from({ length: count }, () => code.label());
  const [table, end, first] = [code.label(), code.label(), code.label()];
  const scale = (code.mode === 64 ? 3 : 2) << 6;
  // and register, 3; jmp [table + register * word], or by way of the register
  const next = (): void => {
    code.emit(0x83, 0xe0 | register, count - 1);
    if (random.oneIn(2)) code.addressOf(table, 0xff, 0x24, scale | (register << 3) | 5);
    else {
      code.addressOf(table, 0x8b, (register << 3) | 4, scale | (register << 3) | 5);
      code.emit(0xff, 0xe0 | register);
    }
  };
  code.emit(0x50 | RSI);
  moveImmediate(c, RSI, 3 + random.below(30));
  if (random.oneIn(2)) code.jumpIf(random.below(16), random.pick(middles));
  code.place(first);
  next();
  code.place(table);
  for (const label of all) {
    code.addressOf(label);
    if (code.mode === 64) code.u32(0);
  }
  for (const [i, label] of all.entries()) {
    code.place(label);
    straight(inside(c), 3);
    code.emit(0xff, 0xc8 | RSI);
    code.jumpIf(SIGN, end);
    code.place(middles[i]!);
    straight(inside(c), 3);
    // add register, n
    if (random.oneIn(2)) code.emit(0x83, 0xc0 | register, random.below(4));
    switch (random.below(5)) {
      case 0:
        code.jump(first);
        break;
      case 1:
        code.jumpIf(random.below(16), random.pick(all));
        next();
        break;
      case 2:
        code.emit(0xff, 0xc8 | RSI);
        code.jumpIf(SIGN, end);
        code.jumpIf(random.below(16), random.pick(middles));
        next();
        break;
      default:
        next();
    }
  }
  code.place(end);
  code.emit(0x58 | RSI);
};

const STRING_OPCODES = [0xa4, 0xa5, 0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0xa6, 0xa7] as const;

/** REP and single string instructions of all sizes, both directions, over page ends. */
const strings: Piece = (c) => {
  const { code, random } = c;
  code.emit(0x50 | RSI);
  const place = (): number => {
    const page = G.DATA + 4096 * (1 + random.below(G.DATA_BYTES / 4096 - 2));
    return random.oneIn(2) ? page + random.below(4096) : page - 20 + random.below(40);
  };
  const source = place();
  moveImmediate(c, RSI, source);
  moveImmediate(c, RDI, random.oneIn(4) ? source + 1 + random.below(8) : place());
  moveImmediate(c, RCX, random.oneIn(6) ? 600 : random.below(40));
  if (random.oneIn(4)) code.emit(0xfd);
  for (let count = 1 + random.below(3); count > 0; count--) {
    const prefix = random.pick([[], [0xf3], [0xf3], [0xf2]]);
    const width = random.pick([[], [], [0x66], code.mode === 64 ? [0x48] : []]);
    code.emit(...(width[0] === 0x66 ? [0x66, ...prefix] : [...prefix, ...width]), random.pick(STRING_OPCODES));
  }
  code.emit(0xfc, 0x58 | RSI);
};

const stack: Piece = (c) => {
  const { code, random } = c;
  const count = 1 + random.below(4);
  for (let i = 0; i < count; i++) {
    const how = random.below(5);
    if (how === 0) code.emit(0x6a, random.below(256));
    else if (how === 1) code.emit(0xff, 0x75, random.below(120));
    else if (how === 2)
      code.emit(0x66, 0x50 | freeRegister(c), 0x66, 0x50 | freeRegister(c), 0x66, 0x6a, 3, 0x66, 0x6a, 4);
    else code.emit(0x50 | freeRegister(c));
    if (how === 2 && code.mode === 32) code.emit(0x8d, 0x64, 0x24, 4);
  }
  straight(c, 2);
  // enter 16, 0; ...; leave, with RBP kept by them
  if (random.oneIn(3)) code.emit(0xc8, 16, 0, 0, 0x89, 0x44, 0x24, 4, 0xc9);
  for (let i = 0; i < count; i++) {
    if (random.oneIn(5)) code.wide(0x8d, 0x64, 0x24, code.mode / 8);
    else code.emit(0x58 | freeRegister(c));
  }
};

/** Sub-word registers: parts written, the whole read. */
const subWord: Piece = (c) => {
  const { code, random } = c;
  for (let count = 3 + random.below(5); count > 0; count--) {
    const [a, b] = [random.below(4), random.below(4)];
    if (c.spare.includes(a)) continue;
    const low = 0xc0 | (b << 3) | a;
    const parts = [
      [0x88, low | random.pick([0, 4, 0x20, 0x24])],
      [0x66, 0x01, low],
      [0xb0 | a | random.pick([0, 4]), random.below(256)],
      [0x00, low | random.pick([4, 0x20])],
      [0x66, 0xb8 | a, random.below(256), random.below(256)],
      [0xfe, 0xc0 | a | 4],
      [0x0f, 0xb6, 0xc0 | (a << 3) | b | 4],
      [0x01, low],
      [0x0f, 0x90 | random.below(16), 0xc0 | a | random.pick([0, 4])],
    ];
    code.emit(...random.pick(parts));
  }
};

/** A store into an immediate of code behind or before it, directly or through another mapping. */
const selfModifying: Piece = (c) => {
  const { code, random } = c;
  const alias = random.oneIn(2) ? G.CODE_ALIAS - G.CODE : 0;
  const register = random.below(3) === 0 ? RAX : freeRegister(c) & 3;
  const target = code.label();
  const store = (): void => code.absoluteTo(target, alias, [0x88], register);
  const isBehind = random.oneIn(2);
  if (isBehind) store();
  straight(c, 2);
  // add register, imm32
  code.emit(0x81, 0xc0 | freeRegister(c));
  code.place(target);
  c.patches.push(code.here);
  code.u32(random.uint32());
  straight(c, 1);
  if (!isBehind) store();
};

/** Reads and writes of the device page, among others, and of ports. */
const device: Piece = (c) => {
  const { code, random } = c;
  const register = freeRegister(c);
  const address = G.DEVICE + random.below(1000) * 4 + (random.oneIn(8) ? 1 : 0);
  switch (random.below(5)) {
    case 0:
      code.absolute([0x8b], register, address);
      break;
    case 1:
      code.absolute([0x03], register, address);
      break;
    case 2:
      code.absolute([0x89], register, address);
      break;
    case 3:
      code.absolute([0x0f, 0x28], register, address & ~15);
      break;
    default:
      if (c.spare.includes(RAX) || c.spare.includes(RDX)) return;
      code.emit(...random.pick([[0xec], [0xed], [0xee], [0xef], [0xe4, 0x80], [0x66, 0xed]]));
  }
};

/** What leaves straight execution: software interrupts, faults whose handlers go on, reads of the time. */
const trap: Piece = (c) => {
  const { code, random } = c;
  const choices: (readonly number[])[] = [
    [0xcd, G.VECTOR.call],
    [0xcc],
    [0x0f, 0x0b],
    [0x31, 0xc9, 0xf7, 0xf1], // xor ecx, ecx; div ecx
    [0x0f, 0x31], // rdtsc
    [0x0f, 0xa2], // cpuid
    [0xfa, 0x90, 0xfb], // cli; nop; sti
    [0x9c, 0x80, 0x4c, 0x24, 1, 1, 0x9d], // pushf; or byte [rsp+1], TF; popf
    [0x9c, 0x80, 0x4c, 0x24, 2, 4, 0x9d, 0x8b, 0x45, 1], // AC, then a misaligned load
    [0x8c, 0xd8, 0x8e, 0xd8], // mov eax, ds; mov ds, eax
    [0x8c, 0xd0, 0x8e, 0xd0], // mov eax, ss; mov ss, eax
  ];
  const { kind, ring } = c.environment;
  if (ring === 0) choices.push([0xfb, 0xf4], [0x0f, 0x01, 0x7d, 0], [0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8]);
  if (ring === 3 && kind === "long") choices.push([0x0f, 0x05], [0x0f, 0x05]);
  const chosen = random.pick(choices);
  if (c.spare.length > 0 && chosen[0] !== 0xcd) code.emit(0x90);
  else code.emit(...chosen);
};

const CODE64 = 0x08;
const DATA_SELECTOR = 0x10;
const GS_BASE = 0xc000_0101;
const SYSENTER_ESP = 0x175;

/** What changes modes, events and mappings, behind and in front of straight code; also inside of functions. */
const system: Piece = (c) => {
  const { code, random, environment } = c;
  const interruptFlag = (): void => {
    code.emit(0xfa);
    straight(c, 2);
    code.emit(0xfb);
    const followers = [[0x90], [0x8b, 0x45, 4], [0x01, 0x55, 8], [0xfb], [0xfa, 0xfb], [0xeb, 0], []];
    // Where blocks start anyway: jnz to what is next; jnz behind another sti.
    code.emit(...random.pick([...followers, [0x75, 0], [0x75, 1, 0xfb], [0x75, 1, 0xfb, 0xeb, 0]]));
  };
  if (
    c.spare.length === 0 &&
    (environment.kind === "legacy" || environment.kind === "pae") &&
    environment.ring === 0 &&
    random.oneIn(2)
  ) {
    if (random.oneIn(2)) {
      code.emit(0x0f, 0x20, 0xc0, 0x0c, 8, 0x0f, 0x22, 0xc0, 0x89, 0x45, 0, 0x0f, 0x06); // CR0.TS; a store; clts
      return straight(c, 1);
    }
    moveImmediate(c, RCX, SYSENTER_ESP);
    code.emit(0x31, 0xd2, 0x0f, 0x30, 0x0f, 0x32); // xor edx, edx; wrmsr; rdmsr
    return straight(c, 1);
  }
  if (c.spare.length > 0 || environment.kind !== "long" || random.oneIn(3)) return interruptFlag();
  const setFlag = [0x9c, 0x80, 0x4c, 0x24, 1, 2, 0x9d]; // pushf; or byte [rsp+1], IF; popf
  if (environment.ring === 3) {
    code.emit(...random.pick([[0x0f, 0x05], [0xcd, G.VECTOR.call], setFlag]));
    return straight(c, 2);
  }
  // mov ecx, GS_BASE; mov eax, base; xor edx, edx; wrmsr; rdmsr
  const base = (value: number): void => {
    moveImmediate(c, RCX, GS_BASE);
    moveImmediate(c, RAX, value);
    code.emit(0x31, 0xd2, 0x0f, 0x30, 0x0f, 0x32);
  };
  switch (random.below(7)) {
    case 0:
      code.emit(0x0f, 0x01, 0xf8); // swapgs
      base(16 * random.below(4));
      straight(c, 2);
      code.emit(0x0f, 0x01, 0xf8, 0x65, 0x8b, 0x45, random.below(100)); // mov eax, gs:[rbp+n]
      break;
    case 1:
      code.emit(0x0f, 0x20, 0xc0, 0x0c, 8, 0x0f, 0x22, 0xc0, 0x89, 0x45, 0, 0x0f, 0x06); // CR0.TS; a store; clts
      break;
    case 2: {
      // mov eax, esp; push ss, rax, flags, cs, next; iretq
      const next = code.label();
      code.emit(0x89, 0xe0, 0x6a, DATA_SELECTOR, 0x50, 0x9c, 0x6a, CODE64);
      code.addressOf(next, 0x68);
      code.emit(0x48, 0xcf);
      code.place(next);
      break;
    }
    case 3:
      code.emit(0x0f, 0x20, 0xd8, 0x0f, 0x22, 0xd8); // mov rax, cr3; mov cr3, rax
      break;
    case 4:
      code.absolute([0x0f, 0x01], 7, random.pick([G.CODE, G.STACK_TOP - 4096, G.DATA])); // invlpg
      break;
    case 5:
      code.emit(...setFlag);
      break;
    default:
      code.emit(0x8c, 0xd8, 0x8e, 0xc0); // mov eax, ds; mov es, eax
  }
  straight(c, 2);
};

/** Two data pages change places in the page table; INVLPG for both, wherever they may be used. */
const remap: Piece = (c) => {
  const { code, random, environment } = c;
  if (environment.ring === 3) return straight(c);
  const register = freeRegister(c);
  const [a, b] = [random.below(8), random.below(8)].map((page) => G.DATA + page * 4096) as [number, number];
  // What is in both before and behind: mov register, [page + n]; mov [rbp + m], register
  const copy = (page: number): void => {
    code.absolute([0x8b], register, page + 4 * random.below(1000));
    code.emit(0x89, 0x45 | (register << 3), 4 * random.below(16));
  };
  for (const page of [a, b]) copy(page);
  code.absolute([0x8b], register, entryAddress(environment.kind, a));
  code.absolute([0x87], register, entryAddress(environment.kind, b));
  code.absolute([0x89], register, entryAddress(environment.kind, a));
  for (const page of [a, b]) {
    code.absolute([0x0f, 0x01], 7, page);
    code.emit(0x0f, 0x01, 0xbd);
    code.u32(page - G.DATA);
  }
  for (const page of [a, b]) copy(page);
  straight(c, 3);
};

/** Nops or a jump, so that what follows lies over a page's end. */
const overPageEnd: Piece = (c) => {
  const { code, random } = c;
  const left = 4096 - (code.here % 4096);
  if (left > 60 || left < 8) return straight(c, 3);
  const skip = left - 1 - random.below(6);
  if (skip > 5) {
    const next = code.label();
    code.jump(next);
    while (code.here % 4096 < 4096 - (left - skip)) code.emit(0xcc);
    code.place(next);
  }
  straight(c, 3);
};

const PIECES = {
  ...{ farFlags, branch, loop, countedLoop, irreducible, tangle, call, switchTable, handlers, strings, stack, subWord },
  ...{ selfModifying, device, trap, remap, overPageEnd, system },
} as const satisfies Record<string, Piece>;
export type PieceName = keyof typeof PIECES;
export const PIECE_NAMES: readonly PieceName[] = Object.keys(PIECES) as PieceName[];

export function piece(c: Context, name: PieceName = c.random.pick(PIECE_NAMES)): void {
  const isLong = name === "loop" || name === "call" || name === "strings";
  if (c.depth > 2 && isLong) straight(c);
  else PIECES[name](c);
}
