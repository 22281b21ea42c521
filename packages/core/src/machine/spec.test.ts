import { expect, test } from "vitest";
import { StateError } from "../state/errors.ts";
import { checkSpec, type MachineSpec, machineSpec, seedBytes, specFromState, specToState } from "./spec.ts";
import { SpecError } from "./spec-error.ts";

const MIB = 2 ** 20;
const KERNEL = { sha256: "ab".repeat(32), sizeBytes: 8_000_000 };

const full: MachineSpec = machineSpec({
  memoryBytes: 512 * MIB,
  seed: "0102ff",
  cpuFeatures: ["-rdrand", "aes", "pcid"],
  clock: "virtual",
  boot: { kernel: KERNEL, initrd: KERNEL, commandLine: "console=ttyS0" },
  devices: [
    { kind: "virtio-block", name: "disk0", sizeBytes: 2 ** 40, isReadOnly: true, queues: 2 },
    { kind: "virtio-console", name: "console0", ports: [{ name: "hvc0", isConsole: true }] },
    { kind: "virtio-rng", name: "rng0" },
    { kind: "virtio-mem", name: "mem0", sizeBytes: 1024 * MIB },
    { kind: "watchdog", name: "watchdog0", action: "pause" },
  ],
});

test("a spec survives its saved form", () => {
  expect(specFromState(specToState(full))).toEqual(full);
  const small = machineSpec({ memoryBytes: 16 * MIB });
  expect(specFromState(specToState(small))).toEqual(small);
  const xen = machineSpec({
    memoryBytes: 64 * MIB,
    boot: { kernel: KERNEL, commandLine: "", modules: [{ file: KERNEL, commandLine: "root=/dev/ram0" }] },
  });
  expect(specFromState(specToState(xen))).toEqual(xen);
  const rom = machineSpec({ memoryBytes: 16 * MIB, firmware: { sha256: "cd".repeat(32), sizeBytes: 0x20000 } });
  expect(specFromState(specToState(rom))).toEqual(rom);
  const uefi = machineSpec({
    ...rom,
    variables: { sha256: "ef".repeat(32), sizeBytes: 0x1000 },
    name: "box",
    hasBootMenu: true,
    hasDebugExit: true,
    bootOrder: ["disk1"],
    devices: [
      { kind: "sata-disk", name: "disk0", sizeBytes: 512, isReadOnly: false },
      { kind: "sata-cd", name: "disk1", sizeBytes: 2048, isReadOnly: true },
    ],
  });
  expect(specFromState(specToState(uefi))).toEqual(uefi);
  for (const vga of [{}, { rom: { sha256: "ef".repeat(32), sizeBytes: 39_936 } }]) {
    const shown = machineSpec({ memoryBytes: 16 * MIB, vga });
    expect(specFromState(specToState(shown))).toEqual(shown);
  }
  const { firmware: _, ...older } = specToState(small) as Record<string, never>;
  expect(specFromState(older)).toEqual(small);
  expect([...seedBytes(full)]).toEqual([1, 2, 255]);
});

test.each([
  [{ memoryBytes: 8 * MIB }, "memory", /8 MiB of memory. Give 16 MiB to 3072 MiB/],
  [{ memoryBytes: 4096 * MIB }, "memory", /4096 MiB/],
  [{ memoryBytes: 512 * MIB + 1 }, "memory", /whole pages/],
  [{ memoryBytes: Number.NaN }, "memory", /NaN/],
  [{ cpu: "host" }, "cpu", /"host". Possible: portable-v1/],
  [{ cpuFeatures: ["avx"] }, "cpu", /no CPU feature "avx" to choose. Possible are, to add: adx, aes/],
  [{ cpuFeatures: ["sha", "aes"] }, "cpu", /not sorted/],
  [{ cpuFeatures: ["aes", "aes"] }, "cpu", /named twice/],
  [{ cpuFeatures: ["-xsave", "xgetbv1"] }, "cpu", /needs xsave/],
  [{ tscFrequencyHz: 50 }, "tsc-frequency", /100 MHz to 8 GHz/],
  [{ tscFrequencyHz: 2_000_001_000 }, "tsc-frequency", /1 MHz/],
  [{ name: "a b" }, "name", /no name for a machine/],
  [{ seed: "" }, "seed", /hexadecimal/],
  [{ seed: "abc" }, "seed", /hexadecimal/],
  [{ epochSeconds: -1 }, "epoch", /1970/],
  [{ clock: "fast" }, "clock", /wall, virtual/],
  [{ boot: { kernel: { sha256: "xy", sizeBytes: 1 }, commandLine: "" } }, "boot", /kernel/],
  [{ firmware: KERNEL }, "firmware", /not from both/],
  [{ boot: undefined, firmware: { ...KERNEL, sizeBytes: 0x10100 } }, "firmware", /whole pages/],
  [{ variables: KERNEL }, "firmware", /need the firmware/],
  [{ boot: undefined, firmware: { ...KERNEL, sizeBytes: 0x1000 }, variables: KERNEL }, "firmware", /whole pages/],
  [{ boot: undefined, firmware: { ...KERNEL, sizeBytes: 0x1010000 } }, "firmware", /at most 16 MiB/],
  [{ vga: { rom: { ...KERNEL, sizeBytes: 2 ** 19 } } }, "vga", /at most 256 KiB/],
  [{ devices: [{ kind: "virtio-mem", name: "m", sizeBytes: 127 * MIB }] }, "memory", /a multiple of 128 MiB more/],
  [{ devices: [{ kind: "virtio-mem", name: "m", sizeBytes: -128 * MIB }] }, "memory", /a multiple of 128 MiB more/],
  [{ devices: [{ kind: "virtio-mem", name: "m", sizeBytes: 2688 * MIB }] }, "memory", /up to 3200 MiB: 3072/],
  [{ memoryBytes: 2817 * MIB }, "memory", /more than 2816 MiB of memory cannot get more/],
  [
    {
      devices: [
        { kind: "virtio-mem", name: "a", sizeBytes: 128 * MIB },
        { kind: "virtio-mem", name: "b", sizeBytes: 128 * MIB },
      ],
    },
    "memory",
    /one virtio-mem device at most/,
  ],
  [{ devices: [{ kind: "toaster", name: "a" }] }, "devices", /"toaster"/],
  [{ devices: [{ kind: "virtio-rng", name: "../x" }] }, "devices", /no device name/],
  [{ devices: [{ kind: "virtio-block", name: "d", sizeBytes: 513, isReadOnly: false, queues: 1 }] }, "devices", /513/],
  [
    { devices: [{ kind: "virtio-block", name: "d", sizeBytes: 512, isReadOnly: true, queues: 9 }] },
    "devices",
    /9 queues/,
  ],
  [{ devices: [{ kind: "virtio-console", name: "c", ports: [] }] }, "devices", /0 ports/],
  [{ devices: [{ kind: "virtio-console", name: "c", ports: [{ name: "" }] }] }, "devices", /no port name/],
  [
    {
      devices: [
        { kind: "virtio-rng", name: "a" },
        { kind: "virtio-rng", name: "a" },
      ],
    },
    "devices",
    /Two devices/,
  ],
])("%j is refused", (change, code, message) => {
  const spec = { ...full, ...change } as MachineSpec;
  expect(() => checkSpec(spec)).toThrow(message);
  try {
    checkSpec(spec);
  } catch (error) {
    expect(error).toBeInstanceOf(SpecError);
    expect((error as SpecError).code).toBe(code);
  }
});

test("a saved spec of another form is a StateError", () => {
  expect(() => specFromState({ memoryBytes: "much" })).toThrow(StateError);
  expect(() => specFromState({ ...(specToState(full) as object), extra: 1 })).toThrow(/extra/);
});

test("a spec saved before there was a choice of CPU features has none", () => {
  const { cpuFeatures: _, ...old } = specToState(machineSpec({ memoryBytes: 16 * MIB })) as Record<string, never>;
  expect(specFromState(old).cpuFeatures).toEqual([]);
});
