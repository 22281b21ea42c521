/**
 * OVMF on the kvm engine: from its reset vector to its shell, on the serial port and on a screen; it runs a script from a disk and
 * writes a file there; what is set is in the flash chip. Its variables and the frame buffer are memory for the guest, so that
 * only what changes them leaves it.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { createVm } from "@twinmetal/host";
import { expect, it } from "vitest";
import { fatDisk } from "./fat-disk.ts";

const LIMIT_MS = 2_400_000;
const WAIT_MS = 400_000;
const MIB = 2 ** 20;
const DISK = "/tmp/fat.img";
const SCRIPT = "echo by-the-script\r\n";

it("OVMF comes to its shell, draws it on a screen, uses a disk, and keeps a variable", {
  timeout: LIMIT_MS,
}, async () => {
  writeFileSync(DISK, fatDisk("STARTUP NSH", SCRIPT));
  await using vm = await createVm({
    engine: "kvm",
    firmware: "uefi",
    vga: "std",
    memoryBytes: 256 * MIB,
    cpuFeatures: ["-xsave", "-xsaveopt"],
    disks: [{ path: DISK, format: "raw" }],
  });
  expect(vm.engine).toBe("kvm");
  const startMs = performance.now();
  const decoder = new TextDecoder();
  let transcript = "";
  vm.serial.onData((bytes) => {
    transcript += decoder.decode(bytes, { stream: true });
  });
  const lap = async (what: string): Promise<void> => {
    const { portExits, mmioExits, signalExits } = await vm.stats();
    const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
    console.log(`${what} after ${seconds} s; exits: ${portExits} ports, ${mmioExits} memory, ${signalExits} signals`);
  };
  const shows = async (pattern: string | RegExp, what: string): Promise<void> => {
    try {
      await vm.serial.waitFor(pattern, { timeoutMs: WAIT_MS });
    } catch (error) {
      await lap(`not ${what}`);
      const { rip, isHalted } = await vm.registers();
      console.log(`at 0x${rip.toString(16)}${isHalted ? ", halted" : ""}; printed: ${JSON.stringify(transcript)}`);
      throw error;
    }
    await lap(what);
  };
  await vm.start();
  await shows("Press", "the boot manager's prompt");
  await shows(/by-the-script\r\n/, "a script from the disk");
  await shows("Shell> ", "the shell");
  await vm.serial.write("echo written >a FS0:\\note.txt\r");
  await shows("Shell> ", "a file that is written");
  await vm.serial.write("set kept yes\r");
  await shows("Shell> ", "a variable that is set");
  await vm.serial.write("set kept\r");
  await shows(/kept .*= .*yes/, "the variable");
  expect(readFileSync(DISK).includes("written\r\n")).toBe(true);
  const png = Buffer.from(await vm.screenshot());
  expect([png.readUInt32BE(16), png.readUInt32BE(20)]).toEqual([1024, 768]);

  const { stateHash } = await vm.switchEngine("jit", { isVerified: true });
  expect(stateHash).toMatch(/^[0-9a-f]{64}$/);
  expect(vm.engine).toBe("jit");
  await vm.serial.write("echo there\r");
  await shows("there\r\n", "the shell, in jit");
});
