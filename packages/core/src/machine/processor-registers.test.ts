import { expect, it } from "vitest";
import { JitEngine } from "../engine/jit-engine.ts";
import { bareMachine, CODE, HANDLERS } from "../interp/bare-machine.ts";
import { createBoard } from "./board.ts";
import { Machine } from "./machine.ts";
import { restoreMachine, saveMachine } from "./machine-state.ts";
import { machineSpec } from "./spec.ts";
import { testKernel } from "./test-kernel.ts";

const RESULTS = 0x30_0000;

/** Assembly of what the guest does; each stosd is one result. */
const GUEST = [
  // ebx: local APIC, edi: results
  "bb0000e0fe bf00003000",
  // mov cr8, 5; read TPR
  "b805000000 440f22c0 8b8380000000 ab",
  // TPR := 0x9f; mov rax, cr8
  "c783800000009f000000 440f20c0 ab",
  // x2APIC mode; WRMSR TPR := 0x30; mov rax, cr8
  "b91b000000 0f32 0d00040000 0f30 b908080000 b830000000 31d2 0f30 440f20c0 ab",
  // CPUID.1:EDX.APIC
  "b801000000 0fa2 c1ea09 83e201 89d0 ab",
  // APIC off; mov rax, cr8; CPUID.1:EDX.APIC
  "b91b000000 0f32 25fff3ffff 0f30 440f20c0 ab b801000000 0fa2 c1ea09 83e201 89d0 ab",
  // IA32_MTRRCAP, IA32_MTRR_DEF_TYPE; IA32_MTRR_PHYSBASE0 := 0x80000006
  "b9fe000000 0f32 ab b9ff020000 0f32 ab b900020000 b806000080 31d2 0f30",
  // power off
  "66ba0406 66b8003c 66ef ebfe",
];

function guest() {
  const kernel = testKernel(
    Uint8Array.from(GUEST.join("").match(/[0-9a-f]{2}/g)!, (byte) => Number.parseInt(byte, 16)),
  );
  const spec = machineSpec({
    memoryBytes: 16 * 2 ** 20,
    clock: "virtual",
    seed: "01",
    boot: { kernel: { sha256: "00".repeat(32), sizeBytes: kernel.length }, commandLine: "" },
    devices: [],
  });
  const { memoryBytes, tscFrequencyHz } = spec;
  const engine = new JitEngine({ memoryBytes, tscFrequencyHz, sharedMemory: false });
  return new Machine({
    spec,
    memory: engine.memory,
    engine,
    createBoard: (wiring) => createBoard(wiring, { kernel }),
    output: () => {},
  });
}

it("CR8, CPUID and the memory types go with the local APIC and with what firmware has set", () => {
  const machine = guest();
  machine.start();
  while (machine.runSlice().kind === "ran");
  expect(machine.state).toBe("off");
  const results = Array.from({ length: 8 }, (_, i) => machine.memory.read32(RESULTS + 4 * i));
  expect(results).toEqual([0x50, 9, 3, 1, 0, 0, 0x508, 0xc06]);
});

it("a saved machine has its memory types, and so has the restored one", () => {
  const machine = guest();
  machine.start();
  machine.runSlice(20);
  const before = machine.vcpu.getState().msrs;
  expect([before[0x2ff], before[0x200], before[0x201], before[0x277]]).toEqual([
    0xc06n,
    0xb000_0000n,
    0xff_f000_0800n,
    0x0007_0406_0007_0406n,
  ]);
  machine.pause();
  let file = new Uint8Array(0);
  saveMachine(machine, {
    setSize: (sizeBytes) => {
      file = new Uint8Array(sizeBytes);
    },
    writeAt: (offset, bytes) => file.set(bytes, offset),
  });
  const copy = guest();
  restoreMachine(copy, {
    sizeBytes: file.length,
    readAt: (offset, into) => into.set(file.subarray(offset, offset + into.length)),
  });
  expect(copy.vcpu.getState()).toEqual(machine.vcpu.getState());
  copy.resume();
  while (copy.runSlice().kind === "ran");
  expect(copy.memory.read32(RESULTS + 28)).toBe(0xc06);
});

/** Runs MOV ECX, `index`; MOV EAX, `value`; XOR EDX, EDX; the instruction; HLT. Whether it was #GP. */
function isRefused(instruction: readonly number[], index: number, value = 0): boolean {
  const word = (n: number) => [n, n >>> 8, n >>> 16, n >>> 24].map((byte) => byte & 0xff);
  const { load, vcpu, state } = bareMachine();
  load([0xb9, ...word(index), 0xb8, ...word(value), 0x31, 0xd2, ...instruction, 0xf4]);
  vcpu.run(100);
  const { rip } = state();
  expect([BigInt(CODE + 15), BigInt(HANDLERS + 13 * 16 + 1)]).toContain(rip);
  return rip !== BigInt(CODE + 15);
}
const RDMSR = [0x0f, 0x32];
const WRMSR = [0x0f, 0x30];

it("performance counters, MPERF and APERF, machine-check banks and system management ranges are absent", () => {
  for (const index of [0xc1, 0x186, 0x309, 0x345, 0x38d, 0x38f, 0x390, 0xe7, 0xe8, 0x17b, 0x280, 0x400, 0x401, 0x1f2]) {
    expect(isRefused(RDMSR, index), `RDMSR ${index.toString(16)}`).toBe(true);
    expect(isRefused(WRMSR, index), `WRMSR ${index.toString(16)}`).toBe(true);
  }
});

it("memory types and machine-check state refuse what is reserved", () => {
  for (const [index, value, refused] of [
    [0x2ff, 0xc06, false],
    [0x2ff, 0xc02, true],
    [0x200, 0x8000_0001, false],
    [0x200, 0x8000_0101, true],
    [0x17a, 4, false],
    [0x17a, 8, true],
    [0xfe, 0x508, true],
    [0x179, 0, true],
  ] as const) {
    expect(isRefused(RDMSR, index)).toBe(false);
    expect(isRefused(WRMSR, index, value), `${index.toString(16)} := ${value.toString(16)}`).toBe(refused);
  }
});
