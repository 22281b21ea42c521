import { machineSpec } from "@twinmetal/core";
import { describe, expect, it } from "vitest";
import { promiseOf, RUN_OPTIONS } from "./commands/run.ts";
import { parseLine } from "./options.ts";
import { checkStartsAnew, promiseOfState, stateOptions } from "./state-options.ts";
import { specWords } from "./vm-library.ts";

const GIB = 2 ** 30;
const FILE = { sha256: "ab".repeat(32), sizeBytes: 4096 };
const console0 = (...names: string[]) => ({
  kind: "virtio-console" as const,
  name: "console0",
  ports: names.map((name) => ({ name, isConsole: false })),
});

describe("a saved state in the words of run", () => {
  it("is the machine that it was, for a policy and for its next start", () => {
    const spec = machineSpec({
      memoryBytes: GIB / 2,
      cpus: 4,
      cpusAtStart: 1,
      cpuFeatures: ["-rdrand", "aes"],
      vga: {},
      boot: {
        kernel: FILE,
        initrd: FILE,
        commandLine: "console=ttyS0 quiet twinmetal.net=dhcp:eth0 twinmetal.term=xterm panic=5 x=y",
      },
      devices: [
        console0("twinmetal.ctl"),
        { kind: "virtio-mem", name: "mem0", sizeBytes: GIB },
        { kind: "virtio-balloon", name: "balloon0" },
        { kind: "virtio-vsock", name: "vsock0", guestCid: 5 },
        { kind: "watchdog", name: "watchdog0", action: "reset" },
        { kind: "virtio-block", name: "disk0", sizeBytes: 512, isReadOnly: false, queues: 1, isInBay: true },
        { kind: "virtio-net", name: "net0", mac: "02:00:00:00:00:01", mtu: 1500, isInBay: true },
      ],
    });
    const options = stateOptions(spec, { vsockPath: "v.sock" });
    expect(options).toEqual({
      memory: "512M,max=1536M",
      cpus: "1,max=4",
      cpu: "portable-v1,-rdrand,+aes",
      vga: "std",
      balloon: true,
      vsock: "5,uds=v.sock",
      watchdog: "reset",
      "disk-bays": "1",
      "net-bays": "1",
      append: "panic=5 x=y",
    });
    const { values } = parseLine(RUN_OPTIONS, specWords({ options }));
    expect(promiseOf(values)).toEqual(promiseOfState(spec));
    expect(values.cpu).toEqual(["-rdrand", "aes"]);
    expect(() => checkStartsAnew(spec, {}, FILE.sha256)).not.toThrow();
  });

  it("says which firmware, and needs the kernel of a guest that is not the tiny image", () => {
    const uefi = machineSpec({ memoryBytes: GIB, firmware: FILE, variables: FILE });
    expect(stateOptions(uefi, {})).toEqual({ memory: "1024M", cpus: "1", firmware: "uefi", vga: "none" });
    expect(stateOptions(machineSpec({ memoryBytes: GIB, firmware: FILE }), { firmware: "rom.bin" })["firmware"]).toBe(
      "rom.bin",
    );
    const other = machineSpec({ memoryBytes: GIB, boot: { kernel: FILE, commandLine: "" } });
    for (const tiny of ["cd".repeat(32), undefined])
      expect(() => checkStartsAnew(other, {}, tiny)).toThrow("--kernel FILE");
    expect(() => checkStartsAnew(other, { kernel: "bzImage" }, undefined)).not.toThrow();
    expect(() => checkStartsAnew(uefi, {}, undefined)).not.toThrow();
  });
});
