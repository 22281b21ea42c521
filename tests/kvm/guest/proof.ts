// The nested guest has what the kvm engine needs: /dev/kvm, Node with koffi, and a processor that runs guest code.

import { closeSync, openSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { describe, expect, it } from "vitest";

/** linux/kvm.h */
const KVM = {
  GET_API_VERSION: 0xae00,
  CREATE_VM: 0xae01,
  GET_VCPU_MMAP_SIZE: 0xae04,
  CREATE_VCPU: 0xae41,
  SET_USER_MEMORY_REGION: 0x4020ae46,
  RUN: 0xae80,
  SET_REGS: 0x4090ae82,
  GET_SREGS: 0x8138ae83,
  SET_SREGS: 0x4138ae84,
} as const;
const EXIT_REASON = 8;
const KVM_EXIT = { IO: 2, HLT: 5 } as const;
const PAGE = 4096;

/** As far as it is used here; it is an optional dependency. */
interface Koffi {
  load(name: string): { func(prototype: string): (...args: (number | ArrayBufferView)[]) => number };
  address(view: ArrayBufferView): number | bigint;
  view(pointer: unknown, sizeBytes: number): ArrayBuffer;
}

const koffi = createRequire(import.meta.url)("koffi") as Koffi;
const libc = koffi.load("libc.so.6");
const ioctl = libc.func("int ioctl(int, unsigned long, intptr_t)");
const ioctlWith = libc.func("int ioctl(int, unsigned long, void *)");
const mmap = libc.func("void *mmap(intptr_t, size_t, int, int, int, long)");

describe("the nested guest", () => {
  it("has AMD's virtualisation, with nested paging", () => {
    const cpu = readFileSync("/proc/cpuinfo", "latin1");
    expect(cpu).toMatch(/\bsvm\b/);
    expect(readFileSync("/sys/module/kvm_amd/parameters/npt", "latin1").trim()).toMatch(/^[Y1]$/);
  });

  it("runs OUT and HLT in real mode", () => {
    const kvm = openSync("/dev/kvm", "r+");
    expect(ioctl(kvm, KVM.GET_API_VERSION, 0)).toBe(12);
    const vm = ioctl(kvm, KVM.CREATE_VM, 0);
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const ram = new Uint8Array(memory.buffer);
    const code = [0xb0, 0x5a, 0xe6, 0x10, 0xa2, 0x00, 0x20, 0xf4]; // mov al, 5ah; out 10h, al; mov [2000h], al; hlt
    ram.set(code, PAGE);
    const region = new BigUint64Array([0n, 0n, BigInt(ram.length), BigInt(koffi.address(ram))]);
    expect(ioctlWith(vm, KVM.SET_USER_MEMORY_REGION, region)).toBe(0);
    const vcpu = ioctl(vm, KVM.CREATE_VCPU, 0);
    const runBytes = ioctl(kvm, KVM.GET_VCPU_MMAP_SIZE, 0);
    const run = new DataView(koffi.view(mmap(0, runBytes, 3, 1, vcpu, 0), runBytes));

    const sregs = new Uint8Array(0x138);
    expect(ioctlWith(vcpu, KVM.GET_SREGS, sregs)).toBe(0);
    sregs.fill(0, 0, 8); // cs.base
    sregs.fill(0, 12, 14); // cs.selector
    expect(ioctlWith(vcpu, KVM.SET_SREGS, sregs)).toBe(0);
    const regs = new BigUint64Array(18);
    regs[16] = BigInt(PAGE); // rip
    regs[17] = 2n; // rflags
    expect(ioctlWith(vcpu, KVM.SET_REGS, regs)).toBe(0);

    expect(ioctl(vcpu, KVM.RUN, 0)).toBe(0);
    expect(run.getUint32(EXIT_REASON, true)).toBe(KVM_EXIT.IO);
    const [port, offset] = [run.getUint16(34, true), Number(run.getBigUint64(40, true))];
    expect([port, run.getUint8(offset)]).toEqual([0x10, 0x5a]);
    expect(ioctl(vcpu, KVM.RUN, 0)).toBe(0);
    expect(run.getUint32(EXIT_REASON, true)).toBe(KVM_EXIT.HLT);
    expect(ram[0x2000]).toBe(0x5a);
    for (const descriptor of [vcpu, vm, kvm]) closeSync(descriptor);
  });
});
