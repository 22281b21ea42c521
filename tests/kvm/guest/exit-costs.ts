/**
 * The figures of docs/decisions/0011: what an interrupt costs with the local APIC as a device of this process and with
 * KVM's own; what a notification costs as an exit and as an ioeventfd; how many of either a Linux causes. Times are
 * reported; what is checked are the exits that make the difference, which no other work on the host changes.
 */
import { createRequire } from "node:module";
import { AgentError, createVm, type Vm } from "@twinmetal/host";
import { afterAll, describe, expect, it } from "vitest";
import { ApicSystemBus } from "../../../packages/core/src/devices/apic/apic-bus.ts";
import { createLocalApic } from "../../../packages/core/src/devices/apic/local-apic.ts";
import { FakeContext } from "../../../packages/core/src/devices/fake-context.ts";
import { ContractGuest, DATA, MMIO } from "../../../packages/core/src/engine/contract-guest.ts";
import { CAP, ENABLE_CAP, ENABLE_CAP_BYTES, KVM } from "../../../packages/host/src/kvm/abi.ts";
import type { KvmCounters } from "../../../packages/host/src/kvm/counters.ts";
import { isNoCalls, linuxCalls } from "../../../packages/host/src/kvm/koffi-calls.ts";
import { KvmEngine } from "../../../packages/host/src/kvm/kvm-engine.ts";
import type { KvmVcpu } from "../../../packages/host/src/kvm/kvm-vcpu.ts";
import type { LinuxCalls } from "../../../packages/host/src/kvm/linux-calls.ts";
import { TSC_FREQUENCY_HZ } from "./engines.ts";

const MINUTE_MS = 60_000;
/** For a program alone on busy processors: a minute is for a quiet host. */
const ROUNDS_LIMIT_MS = 2 * MINUTE_MS;
const ROUNDS = 2000;
const REPEATS = 5;
const VECTOR = 0x40;
const DONE_PORT = 0x10;
const NOTIFY_PORT = 0x20;
const BUDGET_NS = 20_000_000;
const IO_APIC_PINS = 24n;
/** _IOW(KVMIO, 0x79, struct kvm_ioeventfd) */
const KVM_IOEVENTFD = 0x4040_ae79;
const IOEVENTFD = { addr: 8, len: 16, fd: 20, flags: 24, bytes: 64, FLAG_PIO: 2 } as const;

const native = linuxCalls();
if (isNoCalls(native)) throw new Error(native.detail);

/** Tells of each new VM, before it has a vCPU. */
function callsWith(onVm: (vmFd: number) => void): LinuxCalls {
  const calls = native as LinuxCalls;
  return new Proxy(calls, {
    get(target, name) {
      if (name === "ioctl")
        return (fd: number, request: number, argument: number | bigint | Uint8Array) => {
          const result = target.ioctl(fd, request, argument);
          if (request === KVM.CREATE_VM && result >= 0) onVm(result);
          return result;
        };
      const value = Reflect.get(target, name) as unknown;
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function takeIrqchip(vmFd: number): void {
  const request = new DataView(new ArrayBuffer(ENABLE_CAP_BYTES));
  request.setUint32(ENABLE_CAP.cap, CAP.SPLIT_IRQCHIP, true);
  request.setBigUint64(ENABLE_CAP.args, IO_APIC_PINS, true);
  expect((native as LinuxCalls).ioctl(vmFd, KVM.ENABLE_CAP, new Uint8Array(request.buffer))).toBe(0);
}

const dword = (value: number): number[] => [value & 0xff, (value >> 8) & 0xff, (value >> 16) & 0xff, value >>> 24];
const HANDLER = [0xff, 0xc3, 0xc7, 0x87, ...dword(0xb0), ...dword(0), 0x48, 0xcf]; // inc ebx; mov dword [rdi+b0h], 0; iretq
const SELF_INTERRUPTS = [
  ...[0xc7, 0x87, ...dword(0xf0), ...dword(0x1ff), 0xfb, 0xb9, ...dword(ROUNDS)], // mov dword [rdi+f0h], 1ffh; sti; mov ecx, n
  ...[0xc7, 0x87, ...dword(0x300), ...dword(0x4_4000 | VECTOR), 0xff, 0xc9, 0x75, 0xf2], // mov dword [rdi+300h], x; dec ecx; jnz
  ...[0xe6, DONE_PORT, 0xf4], // out 10h, al; hlt
];

function nsPerRound(
  guest: ContractGuest,
  code: readonly number[],
  registers: Record<string, number>,
  apic?: Apic,
): number {
  let best = Number.POSITIVE_INFINITY;
  for (let repeat = 0; repeat < REPEATS; repeat++) {
    guest.load(code, { rbx: 0, ...registers });
    guest.accesses.length = 0;
    const start = performance.now();
    for (let isDone = false; !isDone; ) {
      const exit = guest.vcpu.run(BUDGET_NS);
      if (exit.reason === "interrupt-window") guest.vcpu.interrupt(apic!.acknowledge());
      else expect(["budget", "kick"]).toContain(exit.reason);
      isDone = guest.accesses.at(-1)?.at === DONE_PORT;
      if (performance.now() - start > ROUNDS_LIMIT_MS) throw new Error(`still at ${guest.state().rip.toString(16)}`);
    }
    best = Math.min(best, (performance.now() - start) * 1e6);
  }
  return Math.round(best / ROUNDS);
}

const countersOf = (guest: ContractGuest): KvmCounters => (guest.vcpu as KvmVcpu).counters;

type Apic = ReturnType<typeof createLocalApic>;

function guestOn(calls: LinuxCalls, bus: ConstructorParameters<typeof ContractGuest>[1] = {}): ContractGuest {
  return new ContractGuest((options) => {
    const engine = new KvmEngine({ tscFrequencyHz: TSC_FREQUENCY_HZ, isCpuChecked: false, calls, ...options });
    return { engine, close: () => engine.close() };
  }, bus);
}

function kickAtEnd(guest: ContractGuest): void {
  const { push } = guest.accesses;
  guest.accesses.push = (...accesses) => {
    if (accesses[0]?.at === DONE_PORT) guest.vcpu.kick();
    return push.apply(guest.accesses, accesses);
  };
}

describe("an interrupt that a guest sends itself, with its EOI", () => {
  it("costs two exits and an injection with the local APIC in this process", { timeout: 5 * MINUTE_MS }, () => {
    let apic: Apic | undefined;
    const guest = guestOn(native as LinuxCalls, {
      readMmio: (gpa, size) => apic!.registers.read(gpa & 0xfff, size),
      writeMmio: (gpa, size, value) => apic!.registers.write(gpa & 0xfff, size, value),
    });
    apic = createLocalApic(new FakeContext(), {
      id: 0,
      isBootstrapProcessor: true,
      hasX2apic: true,
      physicalAddressBits: 40,
      bus: new ApicSystemBus(),
      tsc: { tscFrequencyHz: TSC_FREQUENCY_HZ, tscToNs: Number },
      cpu: {
        requestInterrupt: (pending) => guest.vcpu.requestInterrupt(pending),
        taskPriority: (cr8) => guest.vcpu.setTaskPriority(cr8),
        nmi: () => {},
        init: () => {},
        startup: () => {},
      },
    });
    // The self-interrupt goes by the bus.
    const { mmioExits, interruptsInjected } = measureInterrupts("local APIC in this process", guest, apic);
    expect(interruptsInjected).toBe(ROUNDS * REPEATS);
    expect(mmioExits).toBeGreaterThanOrEqual(2 * ROUNDS * REPEATS);
  });

  it("costs no exit to this process with KVM's local APIC", { timeout: 5 * MINUTE_MS }, () => {
    const { mmioExits, interruptsInjected } = measureInterrupts("KVM's local APIC", guestOn(callsWith(takeIrqchip)));
    expect([mmioExits, interruptsInjected]).toEqual([0, 0]);
  });

  function measureInterrupts(what: string, guest: ContractGuest, apic?: Apic): KvmCounters {
    try {
      kickAtEnd(guest);
      guest.gate(VECTOR, DATA);
      guest.write(DATA, HANDLER);
      report(what, nsPerRound(guest, SELF_INTERRUPTS, { rdi: 0xfee0_0000 }, apic));
      expect(Number(guest.gpr("rbx"))).toBe(ROUNDS);
      return countersOf(guest);
    } finally {
      guest.close();
    }
  }
});

describe("a notification", () => {
  const byPort = [0xb9, ...dword(ROUNDS), 0xe6, NOTIFY_PORT, 0xff, 0xc9, 0x75, 0xfa, 0xe6, DONE_PORT, 0xf4];
  const byMemory = [0xb9, ...dword(ROUNDS), 0x66, 0x89, 0x07, 0xff, 0xc9, 0x75, 0xf9, 0xe6, DONE_PORT, 0xf4];

  it("is an exit, or a number in an eventfd", { timeout: 5 * MINUTE_MS }, () => {
    const libc = (createRequire(import.meta.url)("koffi") as Koffi).load("libc.so.6");
    const eventfd = libc.func("int eventfd(unsigned int, int)")(0, 0);
    for (const [name, onVm] of [
      ["an exit", () => {}],
      ["an ioeventfd", (vmFd: number) => notifyBy(vmFd, eventfd)],
    ] as const) {
      const guest = guestOn(callsWith(onVm));
      kickAtEnd(guest);
      report(`notification by a port, as ${name}`, nsPerRound(guest, byPort, {}));
      report(`notification by memory, as ${name}`, nsPerRound(guest, byMemory, { rdi: MMIO }));
      const { portExits, mmioExits } = countersOf(guest);
      const notifications = name === "an exit" ? ROUNDS * REPEATS : 0;
      // Beside them each repetition says once that it is done.
      expect([portExits, mmioExits]).toEqual([notifications + 2 * REPEATS, notifications]);
      guest.close();
    }
  });

  function notifyBy(vmFd: number, eventfd: number): void {
    for (const [address, length, flags] of [
      [NOTIFY_PORT, 1, IOEVENTFD.FLAG_PIO],
      [MMIO, 2, 0],
    ] as const) {
      const request = new DataView(new ArrayBuffer(IOEVENTFD.bytes));
      request.setBigUint64(IOEVENTFD.addr, BigInt(address), true);
      request.setUint32(IOEVENTFD.len, length, true);
      request.setInt32(IOEVENTFD.fd, eventfd, true);
      request.setUint32(IOEVENTFD.flags, flags, true);
      expect((native as LinuxCalls).ioctl(vmFd, KVM_IOEVENTFD, new Uint8Array(request.buffer))).toBe(0);
    }
  }
});

describe("a Linux", () => {
  let vm: Vm | undefined;
  afterAll(() => vm?.close());

  it("that is idle, busy, and writes much, leaves the guest so often in a second", {
    timeout: 10 * MINUTE_MS,
  }, async () => {
    vm = await createVm({
      engine: "kvm",
      memoryBytes: 256 * 2 ** 20,
      cpuFeatures: ["-xsave", "-xsaveopt"],
      append: "quiet",
    });
    await vm.start();
    await answers(vm);
    report("boot to the first command", await vm.stats());
    await rates(vm, "idle", ["sleep", "10"]);
    await rates(vm, "busy", ["sh", "-c", "end=$(($(date +%s) + 10)); while [ $(date +%s) -lt $end ]; do :; done"]);
    await rates(vm, "busy in one process", ["timeout", "10", "sh", "-c", "while :; do :; done"]);
    await rates(vm, "output", ["seq", "300000"]);
    await rates(vm, "disk-like work", [
      "sh",
      "-c",
      "dd if=/dev/zero of=/tmp/x bs=1M count=50 2>/dev/null; sha256sum /tmp/x",
    ]);
  });

  async function rates(machine: Vm, what: string, command: string[]): Promise<void> {
    const [before, startMs] = [await machine.stats(), performance.now()];
    await machine.exec(command);
    const [after, seconds] = [await machine.stats(), (performance.now() - startMs) / 1000];
    const perSecond = Object.fromEntries(
      Object.entries(after).flatMap(([name, count]) => {
        const rate = Math.round((count - (before[name] ?? 0)) / seconds);
        return /Exits$|^interrupts|^kicks|Ms$/.test(name) && rate !== 0 ? [[name, rate]] : [];
      }),
    );
    report(`${what}, in a second of ${seconds.toFixed(1)}`, perSecond);
    expect(after["localApicExits"]).toBeGreaterThan(before["localApicExits"]!);
    expect(after["interruptsInjected"]).toBeGreaterThan(before["interruptsInjected"]!);
  }

  /** However long the boot takes in here. */
  async function answers(machine: Vm): Promise<void> {
    for (;;) {
      try {
        await machine.exec(["true"]);
        return;
      } catch (error) {
        if (!(error instanceof AgentError && error.code === "AGENT_TIMEOUT")) throw error;
      }
    }
  }
});

interface Koffi {
  load(name: string): { func(prototype: string): (...args: number[]) => number };
}

function report(what: string, figure: number | Readonly<Record<string, number>>): void {
  const text = typeof figure === "number" ? `${figure} ns` : JSON.stringify(figure);
  process.stdout.write(`${what}: ${text}\n`);
}
