// What an instruction costs in the interpreter, by how many blocks of code take turns: a few lie in the processor's caches and
// its branch predictor knows them, thousands do not, and most code of a boot and of programs that end soon is like that.
//
//   node bench/interpreter.mjs [BLOCKS...]     after a build; default 20 300 3000 15000
//
// Made-up code on a machine without a board: each block has two to six loads, stores and sums, and goes to one of two others by
// the bits of a sum. CPU time, the least of some rounds: other programs take caches, too, so compare builds in turn.

import { bareMachine } from "../packages/core/dist/interp/bare-machine.js";

const BASE = 0x100000;
const DATA = 0x80000;
const BLOCK_BYTES = 64;
const WARM = 20_000_000;
const ROUND = 5_000_000;
const ROUNDS = 8;
/** RAX RCX RDX RSI RDI; RBX holds the data's address, R8 a sum, R9 what is added to it. */
const REGISTERS = [0, 1, 2, 6, 7];
const [RBX, R9] = [3, 9];

function randomNumbers(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const little = (value) => [value, value >> 8, value >> 16, value >> 24].map((byte) => byte & 0xff);

/** One instruction, by chance. */
function instruction(random) {
  const [a, c] = [REGISTERS[random(5)], REGISTERS[random(5)]];
  const displacement = little(random(4096) * 8);
  const kinds = [
    [0x48, 0x8b, 0x83 | (a << 3), ...displacement], // mov a, [rbx + d]
    [0x48, 0x8b, 0x83 | (a << 3), ...displacement],
    [0x48, 0x8b, 0x83 | (a << 3), ...displacement],
    [0x48, 0x89, 0x83 | (a << 3), ...displacement], // mov [rbx + d], a
    [0x48, 0x89, 0xc0 | (a << 3) | c], // mov c, a
    [0x48, 0x01, 0xc0 | (a << 3) | c], // add c, a
    [0x48, 0x8d, 0x83 | (a << 3), ...displacement], // lea a, [rbx + d]
    [0x31, 0xc0 | (a << 3) | c], // xor c, a
    [0x48, 0x83, 0xc0 | a, random(100)], // add a, n
    [0x0f, 0xb6, 0x83 | (a << 3), ...displacement], // movzx a, byte [rbx + d]
  ];
  return kinds[random(kinds.length)];
}

function program(blocks) {
  const random = randomNumbers(7);
  const code = new Uint8Array(blocks * BLOCK_BYTES);
  for (let i = 0; i < blocks; i++) {
    const start = i * BLOCK_BYTES;
    const bytes = Array.from({ length: 2 + random(5) }, () => instruction(random)).flat();
    // add r8, r9; test r8d, bit; jnz one; jmp another
    bytes.push(0x4d, 0x01, 0xc8, 0x41, 0xf7, 0xc0, ...little(1 << (12 + random(18))));
    for (const opcode of [[0x0f, 0x85], [0xe9]]) {
      const next = start + bytes.length + opcode.length + 4;
      bytes.push(...opcode, ...little(random(blocks) * BLOCK_BYTES - next));
    }
    code.set(bytes, start);
  }
  return code;
}

function nanoseconds(blocks) {
  const { memory, vcpu, change } = bareMachine({}, { tier: "interp" });
  memory.write(BASE, program(blocks));
  change((state) => {
    state.rip = BigInt(BASE);
    state.gpr[RBX] = BigInt(DATA);
    state.gpr[R9] = 0x9e3779b97f4a7c15n;
  });
  const run = (instructions) => {
    const end = vcpu.retired + instructions;
    while (vcpu.retired < end) vcpu.run(end - vcpu.retired);
  };
  run(WARM);
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < ROUNDS; i++) {
    const before = process.cpuUsage();
    run(ROUND);
    const { user, system } = process.cpuUsage(before);
    least = Math.min(least, ((user + system) * 1000) / ROUND);
  }
  return least;
}

const given = process.argv.slice(2).map(Number);
for (const blocks of given.length > 0 ? given : [20, 300, 3000, 15000])
  console.log(`${blocks} blocks: ${nanoseconds(blocks).toFixed(1)} ns an instruction`);
