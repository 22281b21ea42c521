// A host without room for what a guest writes: the VM pauses, says so, and its write goes on when there is room. A boot sector
// writes 32 KiB through SeaBIOS' drivers to a disk on each bus; on the last, another VM takes over in the middle.

import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { createVm, type DiskBus, type DiskProblem, restoreVm, type Vm } from "../../../packages/host/src/index.ts";
import { debianFile } from "./debian-files.ts";

const TIMEOUT_MS = 60_000;
const BUSES: readonly DiskBus[] = ["virtio", "ahci", "nvme", "ide"];
const MIB = 2 ** 20;
/** Each image's first half is there, the other is a hole. */
const HALF_BYTES = MIB;
const WRITE_BYTES = 32 * 1024;
const NO_ROOM = { spaceBytes: HALF_BYTES } as const;
/**
 * For the drives 80H to 83H: fills 8000H to FFFFH with the drive's number, writes that to sector 2048 by INT 13H, AH = 43H, and sends
 * W or F and the drive's last digit to the serial port.
 */
const WRITER =
  "31c08ed88ec08ed0bc007cfca0427cbf0080b90080f3aabe437c88c2b80043cd13b0577302b046baf803eea0427c2c50eeb00aeefe06427c" +
  "803e427c8472cdf4ebfd8010004000008000000008000000000000";

const bios = await debianFile({ packageName: "seabios", path: "usr/share/seabios/bios-256k.bin" });
if (typeof bios === "string") console.warn(`SeaBIOS skipped: ${bios}`);

const pausedFor = (vm: Vm): Promise<DiskProblem> => new Promise((resolve) => vm.on("disk", resolve));

test.skipIf(typeof bios === "string")(
  "a write that finds no room pauses the VM and is made when there is some, on every bus",
  { timeout: 2 * TIMEOUT_MS },
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "twinmetal-full-"));
    onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
    const [firmware, state] = [join(folder, "bios.bin"), join(folder, "state")];
    writeFileSync(firmware, bios as Uint8Array);
    const disks = BUSES.map((bus, index) => {
      const path = join(folder, `${bus}.img`);
      const sector = index === 0 ? Buffer.from(WRITER.padEnd(1020, "0").concat("55aa"), "hex") : Buffer.alloc(0);
      writeFileSync(path, Buffer.concat([sector, Buffer.alloc(HALF_BYTES - sector.length)]));
      truncateSync(path, 2 * HALF_BYTES);
      return { path, format: "raw", bus, bootIndex: index, limits: NO_ROOM } as const;
    });
    const written = (index: number): Buffer =>
      readFileSync(disks[index]!.path).subarray(HALF_BYTES, HALF_BYTES + WRITE_BYTES);
    const expectWritten = (index: number): void =>
      expect(written(index).equals(Buffer.alloc(WRITE_BYTES, 0x80 + index)), disks[index]!.bus).toBe(true);

    await using vm = await createVm({ firmware, memoryBytes: 64 * MIB, engine: "jit", disks });
    let paused = pausedFor(vm);
    await vm.start();
    for (const [index, { path, bus }] of disks.entries()) {
      expect(await paused, bus).toMatchObject({ path, code: "no-space", isBlocked: true });
      if (bus === "ide") break;
      paused = pausedFor(vm);
      await vm.resume();
      expect((await paused).path, `${bus}, with no more room than before`).toBe(path);
      await expect.poll(() => vm.state).toBe("paused");
      paused = pausedFor(vm);
      await vm.disks.limit(index, {});
      await vm.resume();
      await vm.serial.waitFor(`W${index}`, { timeoutMs: TIMEOUT_MS });
      expectWritten(index);
    }
    await vm.save(state);
    await vm.kill();
    await vm.close();
    await using other = await restoreVm(state, {
      firmware,
      disks: disks.map(({ path }) => ({ path, format: "raw" as const })),
    });
    await other.start();
    await other.serial.waitFor(`W${BUSES.indexOf("ide")}`, { timeoutMs: TIMEOUT_MS });
    expectWritten(BUSES.indexOf("ide"));
  },
);
