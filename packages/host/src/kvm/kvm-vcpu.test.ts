import { describe, expect, it } from "vitest";
import { CPUID_ENTRY, CPUID2, EVENTS, EXIT, IO_DIRECTION_OUT, KVM, RUN, TRANSLATION } from "./abi.ts";
import { exitWith, FakeCalls } from "./fake-calls.ts";
import { createCells, VcpuKicker, VcpuSignal } from "./kick-cells.ts";
import { KvmEngine } from "./kvm-engine.ts";
import type { KvmVcpu } from "./kvm-vcpu.ts";
import { ERRNO } from "./linux-calls.ts";
import { type NotingBus, notingBus, realMode } from "./small-guest.ts";
import { KICK_SIGNAL } from "./vcpu-handle.ts";

interface Rig {
  readonly calls: FakeCalls;
  readonly bus: NotingBus;
  readonly vcpu: KvmVcpu;
  readonly engine: KvmEngine;
  readonly cells: SharedArrayBuffer;
}

/** A vCPU on a KVM that does what `runs` says. */
function rig(...runs: ((run: DataView) => number)[]): Rig {
  const calls = new FakeCalls();
  const bus = notingBus();
  const cells = createCells();
  let now = 0;
  const hostNs = (): number => (now += 100);
  const engine = new KvmEngine({ memoryBytes: 16 * 2 ** 20, tscFrequencyHz: 2e9, calls, cells, hostNs });
  const vcpu = engine.createVcpu(0, bus) as KvmVcpu;
  vcpu.setState(realMode(0x1000));
  calls.runs.push(...runs);
  return { calls, bus, vcpu, engine, cells };
}

const io = (direction: number, size: number, port: number, values: readonly number[]): ((run: DataView) => number) =>
  exitWith(EXIT.IO, (run) => {
    run.setUint8(RUN.io_direction, direction);
    run.setUint8(RUN.io_size, size);
    run.setUint16(RUN.io_port, port, true);
    run.setUint32(RUN.io_count, values.length, true);
    run.setBigUint64(RUN.io_data_offset, 4096n, true);
    for (const [i, value] of values.entries()) run.setUint8(4096 + i * size, value);
  });
const mmio = (isWrite: boolean, gpa: bigint, length: number, data = 0n): ((run: DataView) => number) =>
  exitWith(EXIT.MMIO, (run) => {
    run.setBigUint64(RUN.mmio_phys_addr, gpa, true);
    run.setBigUint64(RUN.mmio_data, data, true);
    run.setUint32(RUN.mmio_len, length, true);
    run.setUint8(RUN.mmio_is_write, isWrite ? 1 : 0);
  });
const interrupted = (): number => -ERRNO.EINTR;

describe("exits", () => {
  it("of a string instruction carry all its elements", () => {
    const { bus, vcpu } = rig(io(IO_DIRECTION_OUT, 1, 0x3f8, [0x48, 0x69]), io(0, 2, 0x10, [0, 0, 0]));
    expect(vcpu.run(1000)).toEqual({ reason: "budget" });
    expect(bus.notes).toEqual(["out1 3f8 48", "out1 3f8 69", "in2 10", "in2 10", "in2 10"]);
  });

  it("to MMIO are split at natural addresses", () => {
    const seen: bigint[] = [];
    const { bus, vcpu } = rig(mmio(false, 0xfee0_0020n, 8), mmio(true, 0xfee0_0022n, 6, 0x665544332211n), (run) => {
      seen.push(run.getBigUint64(RUN.mmio_data, true));
      return -ERRNO.EINTR;
    });
    vcpu.run(1000);
    expect(bus.notes).toEqual(["read4 fee00020", "read4 fee00024", "write2 fee00022 2211", "write4 fee00024 66554433"]);
    expect(seen).toEqual([0x665544332211n]);
  });

  it("for MSRs are answered by the bus, the kept ones and the constants, or with an error", () => {
    const errors: number[] = [];
    const values: bigint[] = [];
    const note = (run: DataView): void => {
      errors.push(run.getUint8(RUN.msr_error));
      values.push(run.getBigUint64(RUN.msr_data, true));
    };
    const msr = (reason: number, index: number, value = 0n): ((run: DataView) => number) =>
      exitWith(reason, (run) => {
        note(run);
        run.setUint32(RUN.msr_index, index, true);
        run.setBigUint64(RUN.msr_data, value, true);
      });
    const { vcpu } = rig(
      msr(EXIT.X86_RDMSR, 0x1b),
      msr(EXIT.X86_WRMSR, 0x48, 1n),
      msr(EXIT.X86_RDMSR, 0x48),
      msr(EXIT.X86_RDMSR, 0x1234),
      msr(EXIT.X86_WRMSR, 0x1234),
      (run) => {
        note(run);
        return -ERRNO.EINTR;
      },
    );
    vcpu.run(1000);
    expect(errors.slice(1)).toEqual([0, 0, 0, 1, 1]);
    expect([values[1], values[3]]).toEqual([0xfee0_0900n, 1n]);
  });

  it("that change CR8 tell the local APIC", () => {
    const { bus, vcpu } = rig(exitWith(EXIT.SET_TPR, (run) => run.setUint8(RUN.cr8, 5)));
    vcpu.run(1000);
    expect(bus.notes).toEqual(["msr ffff0008 5"]);
  });

  const failEntry = (why: bigint): ((run: DataView) => number) =>
    exitWith(EXIT.FAIL_ENTRY, (run) => run.setBigUint64(RUN.hardware_entry_failure_reason, why, true));
  const internalError = (suberror: number, data: readonly bigint[]): ((run: DataView) => number) =>
    exitWith(EXIT.INTERNAL_ERROR, (run) => {
      run.setUint32(RUN.internal_suberror, suberror, true);
      run.setUint32(RUN.internal_ndata, data.length, true);
      for (const [i, word] of data.entries()) run.setBigUint64(RUN.internal_data + 8 * i, word, true);
    });

  it.each<[string, (run: DataView) => number, RegExp]>([
    ["VT-x refuses the state", failEntry(0x8000_0021n), /hardware reason 0x80000021: the guest's state is not one/],
    ["VT-x refuses an MSR", failEntry(0x8000_0022n), /an MSR could not be loaded/],
    ["AMD-V refuses the state", failEntry(0xffff_ffff_ffff_ffffn), /the guest's state is not one/],
    ["the entry fails otherwise", failEntry(7n), /FAIL_ENTRY, hardware reason 0x7\)/],
    [
      "an instruction cannot be emulated",
      internalError(1, [1n, 0x0000_0fc7_c00f_0203n, 0n, 0n]),
      /suberror 1: an instruction had to be emulated, and KVM cannot; it begins 02 0f c0\)/,
    ],
    ["it cannot, and the code is not told", internalError(1, [0n]), /suberror 1: .*; data 0x0\)/],
    [
      "an event cannot be delivered",
      internalError(3, [0x8000_030en, 48n]),
      /a fault came up .*; data 0x8000030e 0x30\)/,
    ],
    ["KVM does not know the exit", internalError(4, [99n]), /for a reason that KVM does not know; data 0x63\)/],
    ["the kind is new", internalError(77, []), /suberror 77: of an unknown kind\)/],
    [
      "more is said than there is room",
      internalError(
        2,
        Array.from({ length: 40 }, () => 1n),
      ),
      /( 0x1){16}\)/,
    ],
    ["the reason is new", exitWith(99), /KVM left the guest with reason 99, which is not handled/],
    ["the host is out of memory", () => -ERRNO.ENOMEM, /KVM_RUN answered ENOMEM \(the host has no memory left/],
    ["guest memory is gone", () => -ERRNO.EFAULT, /KVM_RUN answered EFAULT \(guest memory cannot be reached/],
    ["KVM is broken", () => -ERRNO.EIO, /KVM_RUN answered EIO \(KVM has found a mistake of its own/],
    ["the error is new", () => -200, /KVM_RUN answered error 200\./],
  ])("that no guest should cause become an error in words, with the code at RIP: %s", (_what, exit, words) => {
    const { calls, vcpu, engine } = rig(exit);
    calls.answers.set(KVM.TRANSLATE, (request) => {
      new DataView((request as Uint8Array).buffer).setUint8(TRANSLATION.valid, 1);
      return 0;
    });
    engine.memory.write(0, Uint8Array.of(0x0f, 0x0b));
    const left = vcpu.run(1000);
    expect(left).toMatchObject({ reason: "error", message: expect.stringMatching(words) });
    expect((left as { message: string }).message).toMatch(
      /^The processor could not go on .* there is the code 0f 0b .*\.$/,
    );
    expect(vcpu.getState().gpr).toHaveLength(16);
    expect(vcpu.run(1000)).toEqual({ reason: "shutdown" });
  });

  it("that no guest should cause name no code where there is none", () => {
    const { vcpu } = rig(failEntry(0x8000_0021n));
    expect(vcpu.run(1000)).toMatchObject({ message: expect.stringMatching(/there is nothing that could be read\.$/) });
  });
});

describe("interrupts", () => {
  it("go in when KVM says that the guest can take one, and end HLT", () => {
    const { calls, vcpu } = rig(exitWith(EXIT.HLT));
    expect(vcpu.run(1000)).toEqual({ reason: "halt" });
    expect(vcpu.run(1000)).toEqual({ reason: "halt" });
    vcpu.requestInterrupt(true);
    expect(vcpu.run(1000)).toEqual({ reason: "interrupt-window" });
    vcpu.interrupt(0x31);
    expect(calls.requests.at(-1)).toBe(KVM.INTERRUPT);
    vcpu.requestInterrupt(false);
    expect(vcpu.run(1000)).toEqual({ reason: "budget" });
  });

  it("wait, and KVM is asked to say when it can", () => {
    const asked: number[] = [];
    const closed = exitWith(EXIT.SET_TPR, (run) => {
      asked.push(run.getUint8(RUN.request_interrupt_window));
      run.setUint8(RUN.ready_for_interrupt_injection, 0);
    });
    const { vcpu } = rig(closed, exitWith(EXIT.IRQ_WINDOW_OPEN));
    vcpu.requestInterrupt(true);
    expect(vcpu.run(1000)).toEqual({ reason: "interrupt-window" });
    expect(asked).toEqual([1]);
  });

  it("that are on their way when a run ends get there first: they are part of no state", () => {
    let inFlight = 1;
    const { calls, vcpu } = rig(interrupted, () => {
      inFlight = 0;
      return -ERRNO.EINTR;
    });
    calls.answers.set(KVM.GET_VCPU_EVENTS, (events) => {
      (events as Uint8Array)[EVENTS.interrupt_injected] = inFlight;
      return 0;
    });
    expect(vcpu.run(1000)).toEqual({ reason: "budget" });
    expect(inFlight).toBe(0);
  });
});

describe("kicks", () => {
  it("send one signal until the vCPU has come out for it", () => {
    const { calls, vcpu, cells } = rig(interrupted, interrupted);
    const kicker = new VcpuKicker(calls, cells);
    kicker.kick();
    kicker.kick();
    expect(calls.signals).toEqual([{ threadId: 77, signal: KICK_SIGNAL }]);
    expect(calls.run.getUint8(RUN.immediate_exit)).toBe(1);
    expect(vcpu.run(1000)).toEqual({ reason: "kick" });
    expect(calls.run.getUint8(RUN.immediate_exit)).toBe(0);
    expect(vcpu.run(1000)).toEqual({ reason: "budget" });
    kicker.kick();
    expect(calls.signals).toHaveLength(2);
    kicker.release();
  });

  it("of a device end the run after its access", () => {
    const { vcpu, bus } = rig(io(IO_DIRECTION_OUT, 1, 0x10, [1]), io(IO_DIRECTION_OUT, 1, 0x11, [2]));
    bus.writePort = () => vcpu.kick();
    expect(vcpu.run(1000)).toEqual({ reason: "kick" });
  });

  it("that come while an access is completed are not lost", () => {
    const { calls, vcpu, cells } = rig(io(IO_DIRECTION_OUT, 1, 0x10, [1]), interrupted, interrupted);
    const kicker = new VcpuKicker(calls, cells);
    vcpu.requestInterrupt(true);
    vcpu.run(1000);
    kicker.kick();
    vcpu.requestInterrupt(false);
    vcpu.getState();
    expect(calls.run.getUint8(RUN.immediate_exit)).toBe(1);
    expect(vcpu.run(1000)).toEqual({ reason: "kick" });
    kicker.release();
  });

  it("of a third thread are a signal, and touch nothing that may be unmapped", () => {
    const { calls, vcpu, cells } = rig(interrupted, interrupted);
    const kicker = new VcpuKicker(calls, cells);
    const third = new VcpuSignal(calls, cells);
    third.kick();
    third.kick();
    kicker.kick();
    expect(calls.signals).toEqual([{ threadId: 77, signal: KICK_SIGNAL }]);
    expect(calls.run.getUint8(RUN.immediate_exit)).toBe(0);
    expect(vcpu.run(1000)).toEqual({ reason: "kick" });
    expect(vcpu.run(1000)).toEqual({ reason: "budget" });
    kicker.release();
    third.kick();
    expect(calls.signals).toHaveLength(1);
  });

  it("and everything that is open are gone after a release", () => {
    const { calls, cells } = rig();
    const kicker = new VcpuKicker(calls, cells);
    kicker.release();
    kicker.kick();
    expect([calls.open_.size, calls.mappings, calls.timers, calls.signals.length]).toEqual([0, 0, 0, 0]);
  });
});

describe("state", () => {
  it("is read after the last access has been completed by an entry that runs nothing", () => {
    const immediate: number[] = [];
    const { calls, vcpu } = rig(io(0, 1, 0x10, [0]), (run) => {
      immediate.push(run.getUint8(RUN.immediate_exit));
      return -ERRNO.EINTR;
    });
    vcpu.requestInterrupt(true);
    expect(vcpu.run(1000)).toEqual({ reason: "interrupt-window" });
    const before = calls.requests.length;
    vcpu.getState();
    expect(calls.requests.slice(before).indexOf(KVM.RUN)).toBe(0);
    expect(immediate).toEqual([1]);
    expect(calls.run.getUint8(RUN.immediate_exit)).toBe(0);
  });

  it("has a CR8 that the board has set before KVM has heard of it", () => {
    const { vcpu } = rig();
    vcpu.setTaskPriority(5);
    expect(vcpu.getState().cr8).toBe(5n);
  });

  it("counts nanoseconds of the host, those of a pause left out", () => {
    const { vcpu } = rig(interrupted);
    const start = vcpu.retired;
    vcpu.run(1000);
    const after = vcpu.retired;
    expect(after).toBeGreaterThan(start);
    vcpu.followTime(true);
    expect(vcpu.retired).toBe(after);
    vcpu.followTime(false);
    expect(vcpu.retired).toBeGreaterThan(after);
  });
});

describe("several vCPUs", () => {
  function several(cpus: number) {
    const calls = new FakeCalls();
    const cells = createCells();
    const apicIds: number[] = [];
    calls.answers.set(KVM.SET_CPUID2, (table) => {
      // Leaf 1 is the second one: EBX has the APIC ID in its top byte.
      const bytes = table as Uint8Array;
      apicIds.push(bytes[CPUID2.entries + CPUID2.entryBytes + CPUID_ENTRY.ebx + 3]!);
      return 0;
    });
    let now = 0;
    const hostNs = (): number => (now += 100);
    const engine = new KvmEngine({ memoryBytes: 16 * 2 ** 20, tscFrequencyHz: 2e9, cpus, calls, cells, hostNs });
    const vcpus = Array.from({ length: cpus }, (_, i) => engine.createVcpu(i, notingBus()) as KvmVcpu);
    for (const vcpu of vcpus) vcpu.setState(realMode(0x1000));
    calls.entered.length = 0;
    return { calls, cells, engine, vcpus, apicIds };
  }

  it("each have an APIC ID, and a kvm_run that is closed with the engine", () => {
    const { calls, engine, vcpus, apicIds } = several(4);
    expect(apicIds).toEqual([0, 1, 2, 3]);
    expect(() => engine.createVcpu(4, notingBus())).toThrow(/no vCPU 4: this engine runs 4/);
    for (const vcpu of vcpus.toReversed()) vcpu.run(1000);
    expect(calls.entered).toEqual([3, 2, 1, 0]);
    engine.close();
    expect([calls.open_.size, calls.mappings, calls.timers]).toEqual([0, 0, 0]);
  });

  it("share the time that passes: it is the one's that runs", () => {
    const [first, second] = several(2).vcpus as [KvmVcpu, KvmVcpu];
    first.run(1000);
    const before = first.retired;
    expect(second.retired).toBe(0);
    second.run(1000);
    expect([first.retired, second.retired > 0]).toEqual([before, true]);
  });

  it("leave the guest for a kick, whichever runs; the next run of the first one is not cut short", () => {
    const { calls, cells, vcpus } = several(2);
    const kicker = new VcpuKicker(calls, cells);
    kicker.kick();
    expect(calls.run.getUint8(RUN.immediate_exit)).toBe(1);
    expect(vcpus[1]!.run(1000)).toEqual({ reason: "kick" });
    expect(calls.run.getUint8(RUN.immediate_exit)).toBe(0);
    kicker.release();
    expect([calls.open_.size, calls.mappings, calls.timers]).toEqual([0, 0, 0]);
  });

  it("are refused beyond what a machine can have", () => {
    const options = { memoryBytes: 16 * 2 ** 20, tscFrequencyHz: 2e9, calls: new FakeCalls() };
    for (const cpus of [0, 9, 1.5]) expect(() => new KvmEngine({ ...options, cpus })).toThrow(/possible are 1 to 8/);
  });
});

it("an engine that cannot be set up leaves nothing open", () => {
  const calls = new FakeCalls();
  calls.answers.set(KVM.SET_CPUID2, () => -ERRNO.EINVAL);
  const create = (): KvmEngine => new KvmEngine({ memoryBytes: 16 * 2 ** 20, tscFrequencyHz: 2e9, calls });
  expect(create).toThrow(/KVM_SET_CPUID2: EINVAL/);
  expect([calls.open_.size, calls.mappings, calls.timers]).toEqual([0, 0, 0]);
});

it.each([
  ["for a VM", KVM.CREATE_VM, "KVM_CREATE_VM"],
  ["for a vCPU", KVM.CREATE_VCPU, "KVM_CREATE_VCPU"],
  ["for a memory slot", KVM.SET_USER_MEMORY_REGION, "KVM_SET_USER_MEMORY_REGION"],
] as const)("a host without memory %s is told so, and nothing stays open", (_what, request, name) => {
  const calls = new FakeCalls();
  calls.answers.set(request, () => -ERRNO.ENOMEM);
  const create = (): KvmEngine => new KvmEngine({ memoryBytes: 16 * 2 ** 20, tscFrequencyHz: 2e9, calls });
  expect(create).toThrow(`${name}: ENOMEM (the host has no memory left for it)`);
  expect([calls.open_.size, calls.mappings, calls.timers]).toEqual([0, 0, 0]);
});

it("an engine without koffi says that there is no way to call KVM", () => {
  const calls = { code: "no-koffi", detail: "Cannot find module 'koffi'" } as const;
  const create = (): KvmEngine => new KvmEngine({ memoryBytes: 16 * 2 ** 20, tscFrequencyHz: 2e9, calls });
  expect(create).toThrow("There is no way to call KVM here (Cannot find module 'koffi').");
});

it("an engine refuses a CPU that this host cannot give, by feature name", () => {
  const calls = new FakeCalls();
  calls.supportsAll = false;
  const create = (): KvmEngine => new KvmEngine({ memoryBytes: 16 * 2 ** 20, tscFrequencyHz: 2e9, calls });
  expect(create).toThrow(/lack what the VM's CPU has: sse3, .*bmi2/);
});
