import { describe, expect, it } from "vitest";
import { trayBytes } from "../ahci/cd-tray.ts";
import { deviceContract } from "../contract.ts";
import { createDma } from "../dma-8237.ts";
import { FakeContext, type FakeDisk } from "../fake-context.ts";
import { createFloppy } from "./controller.ts";
import { FLOPPY_BYTES } from "./medium.ts";
import { COMMAND, FLAG, MSR, REGISTER } from "./registers.ts";

const [LARGE, SMALL] = FLOPPY_BYTES as [number, number];
const BUFFER = 0x4000;
const TRACK = 18 * 512;
const READ = COMMAND.READ_DATA | FLAG.MT | FLAG.MFM | FLAG.SK;
const WRITE = COMMAND.WRITE_DATA | FLAG.MT | FLAG.MFM;

class Rig {
  readonly context: FakeContext;
  readonly device: ReturnType<typeof createFloppy>;
  readonly dma: ReturnType<typeof createDma>;
  readonly disk: FakeDisk;

  constructor({ isReadOnly = false, sizeBytes = LARGE } = {}, context = new FakeContext({ memoryBytes: 0x1_0000 })) {
    this.context = context;
    this.dma = createDma({ memory: context.memory, page: () => 0 });
    this.device = createFloppy(context, {
      name: "floppy",
      drives: [{ name: "disk0", sizeBytes, isReadOnly }],
      irq: context.line("irq6"),
      dma: this.dma.channel(2),
    });
    this.disk = context.disks.get("disk0")!;
  }

  get irq(): boolean {
    return this.context.line("irq6").level;
  }

  /** Out of reset, the resets' interrupts told, at 500 kbit/s. */
  start(rate = 0): this {
    this.device.registers.write(REGISTER.DOR, 1, 0x1c);
    for (let drive = 0; drive < 4; drive++)
      expect(this.command(COMMAND.SENSE_INTERRUPT_STATUS)).toEqual([0xc0 | drive, 0]);
    this.device.inputRegister.write(0, 1, rate);
    this.command(COMMAND.SPECIFY, 0xdf, 2);
    return this;
  }

  /** Its result, if there is one. */
  command(...bytes: number[]): number[] {
    for (const byte of bytes) this.device.registers.write(REGISTER.FIFO, 1, byte);
    return this.result();
  }

  result(): number[] {
    const bytes: number[] = [];
    while (this.device.registers.read(REGISTER.MSR, 1) & MSR.DIO)
      bytes.push(this.device.registers.read(REGISTER.FIFO, 1));
    return bytes;
  }

  program(way: "read" | "write", bytes: number): void {
    const values = [
      [10, 6],
      [12, 0],
      [11, (way === "read" ? 0x44 : 0x48) | 2],
      [4, BUFFER & 0xff],
      [4, BUFFER >> 8],
      [5, (bytes - 1) & 0xff],
      [5, (bytes - 1) >> 8],
      [10, 2],
    ] as const;
    for (const [register, value] of values) this.dma.chips[0].write(register, 1, value);
  }

  seek(cylinder: number): number[] {
    this.command(COMMAND.SEEK, 0, cylinder);
    expect(this.irq).toBe(true);
    return this.command(COMMAND.SENSE_INTERRUPT_STATUS);
  }
}

describe("82077AA", () => {
  it("reads sectors of both sides by DMA, and says which comes next", () => {
    const rig = new Rig().start();
    expect(rig.seek(3)).toEqual([0x20, 3]);
    rig.program("read", 4 * 512);
    expect(rig.command(READ, 0, 3, 0, 17, 2, 18, 0x1b, 0xff)).toEqual([]);
    expect(rig.device.registers.read(REGISTER.MSR, 1)).toBe(MSR.BUSY);
    rig.disk.complete(0, { fill: 0x11 });
    rig.disk.complete(0, { fill: 0x22 });
    expect(rig.disk.history).toEqual([`read ${6 * TRACK + 16 * 512}+1024`, `read ${7 * TRACK}+1024`]);
    expect(rig.irq).toBe(true);
    expect(rig.result()).toEqual([4, 0, 0, 3, 1, 3, 2]);
    expect(rig.irq).toBe(false);
    const { bytes } = rig.context.memory;
    expect([
      bytes[BUFFER],
      bytes[BUFFER + 1023],
      bytes[BUFFER + 1024],
      bytes[BUFFER + 2047],
      bytes[BUFFER + 2048],
    ]).toEqual([0x11, 0x11, 0x22, 0x22, 0]);
  });

  it("writes what it got, with zeros behind, and ends at the cylinder's end where more was to come", () => {
    const rig = new Rig().start();
    rig.context.memory.bytes.fill(9, BUFFER, BUFFER + 0x2000);
    rig.program("write", 700);
    rig.command(WRITE, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    const { offset, bytes } = rig.disk.requests[0]!;
    expect([offset, bytes.length, bytes[699], bytes[700]]).toEqual([0, 1024, 9, 0]);
    rig.disk.complete();
    expect(rig.result()).toEqual([0, 0, 0, 0, 0, 3, 2]);
    rig.program("write", 2048);
    rig.command(COMMAND.WRITE_DATA | FLAG.MFM, 0, 0, 0, 17, 2, 18, 0x1b, 0xff);
    expect(rig.disk.requests[0]).toMatchObject({ offset: 16 * 512, length: 1024 });
    rig.disk.complete();
    expect(rig.result()).toEqual([0x40, 0x80, 0, 1, 0, 1, 2]);
  });

  it.each<[string, number[], number[], { isReadOnly?: boolean; sizeBytes?: number }?]>([
    ["a write to a protected disk", [WRITE, 0, 0, 0, 1, 2, 18, 0x1b, 0xff], [0x40, 2, 0], { isReadOnly: true }],
    ["a sector that no track has", [READ, 0, 0, 0, 19, 2, 18, 0x1b, 0xff], [0x40, 4, 0]],
    ["another cylinder than the heads are at", [READ, 0, 1, 0, 1, 2, 18, 0x1b, 0xff], [0x40, 4, 0x10]],
    ["sectors of 1024 bytes", [READ, 0, 0, 0, 1, 3, 18, 0x1b, 0xff], [0x40, 4, 0]],
    ["an empty drive", [READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff], [0x40, 5, 0], { sizeBytes: 0 }],
    ["a drive that is not there", [READ, 1, 0, 0, 1, 2, 18, 0x1b, 0xff], [0x41, 5, 0]],
    ["another data rate", [READ, 0, 0, 0, 1, 2, 9, 0x1b, 0xff], [0x40, 5, 0], { sizeBytes: SMALL }],
    ["a DMA channel that nobody has set up", [READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff], [0x40, 0x10, 0]],
    ["an identification of a disk that is not there", [COMMAND.READ_ID | FLAG.MFM, 1], [0x41, 5, 0]],
  ])("refuses %s", (_what, command, status, options) => {
    const rig = new Rig(options).start();
    if (status[1] !== 0x10) rig.program(command[0] === WRITE ? "write" : "read", 512);
    expect(rig.command(...command).slice(0, 3)).toEqual(status);
    expect(rig.disk.history).toEqual([]);
  });

  it("formats a track, whatever its sectors' order, and nothing that an image cannot hold", () => {
    const rig = new Rig().start();
    const sectors = Array.from({ length: 18 }, (_, i) => ((i * 7) % 18) + 1);
    rig.context.memory.write(BUFFER, Uint8Array.from(sectors.flatMap((sector) => [0, 1, sector, 2])));
    rig.program("write", 72);
    rig.command(COMMAND.FORMAT_TRACK | FLAG.MFM, 4, 2, 18, 0x54, 0xf6);
    const { offset, bytes } = rig.disk.requests[0]!;
    expect([offset, bytes.length, bytes.every((byte) => byte === 0xf6)]).toEqual([TRACK, TRACK, true]);
    rig.disk.complete();
    expect(rig.result()[0]).toBe(4);
    rig.context.memory.write8(BUFFER + 2, 5);
    rig.program("write", 72);
    expect(rig.command(COMMAND.FORMAT_TRACK | FLAG.MFM, 4, 2, 18, 0x54, 0xf6).slice(0, 2)).toEqual([0x44, 4]);
  });

  it("tells of a changed disk until the heads move, and reads the new one", () => {
    const rig = new Rig().start();
    const changed = (): number => rig.device.inputRegister.read(0, 1);
    rig.seek(1);
    expect(changed()).toBe(0);
    rig.context.input("disk0-tray", trayBytes({ kind: "eject", force: false }));
    rig.seek(0);
    expect([changed(), rig.device.trayOf("disk0")?.hasDisc]).toEqual([0x80, false]);
    rig.context.input("disk0-tray", trayBytes({ kind: "insert", sizeBytes: SMALL }));
    expect(changed()).toBe(0x80);
    rig.seek(1);
    expect(changed()).toBe(0);
    rig.device.inputRegister.write(0, 1, 2);
    rig.program("read", 512);
    rig.command(READ, 0, 1, 0, 1, 2, 9, 0x1b, 0xff);
    expect(rig.disk.history).toEqual([`read ${18 * 512}+512`]);
  });

  it("is the chip that drivers look for, and says so of commands that are none", () => {
    const rig = new Rig().start();
    expect(rig.command(COMMAND.VERSION)).toEqual([0x90]);
    expect(rig.command(COMMAND.DUMPREG)).toHaveLength(10);
    expect(rig.command(COMMAND.LOCK | FLAG.LOCK)).toEqual([0x10]);
    expect(rig.command(0x18)).toEqual([0x80]);
    expect(rig.command(COMMAND.SENSE_INTERRUPT_STATUS)).toEqual([0x80]);
    expect(rig.command(COMMAND.SENSE_DRIVE_STATUS, 0)).toEqual([0x38]);
    rig.command(COMMAND.RECALIBRATE, 1);
    expect(rig.command(COMMAND.SENSE_INTERRUPT_STATUS)).toEqual([0x71, 0]);
    rig.context.clock.jump(100_000_000);
    expect(rig.command(COMMAND.READ_ID | FLAG.MFM, 4)).toEqual([4, 0, 0, 0, 1, 10, 2]);
  });

  it("forgets a command at a reset, and what it had under way lands before anything new", () => {
    const rig = new Rig().start();
    rig.program("write", 512);
    rig.command(WRITE, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    rig.device.registers.write(REGISTER.DOR, 1, 0);
    expect(rig.irq).toBe(false);
    rig.start();
    rig.program("read", 512);
    rig.command(READ, 0, 0, 0, 1, 2, 18, 0x1b, 0xff);
    expect(rig.disk.history).toEqual(["write 0+512"]);
    rig.disk.complete();
    expect(rig.disk.history).toEqual(["write 0+512", "read 0+512"]);
    rig.disk.complete(0, { isOk: false });
    expect(rig.result().slice(0, 3)).toEqual([0x40, 0x20, 0x20]);
  });
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const rig = new Rig({}, context);
    return {
      device: rig.device,
      ranges: [
        { handler: rig.device.registers, length: 6, sizes: [1] },
        { handler: rig.device.inputRegister, length: 1, sizes: [1] },
      ],
      setUp: () => void rig.start(),
      events: [
        (random) => {
          rig.program(random & 1 ? "read" : "write", 1 + (random % 0x2000));
          rig.command(random & 1 ? READ : WRITE, 0, 0, 0, 1 + (random % 18), 2, 18, 0, 0);
        },
        (random) =>
          rig.disk.requests.length > 0 && rig.disk.complete(0, { isOk: random % 4 !== 0, fill: random & 0xff }),
        (random) => void rig.command(COMMAND.SEEK, 0, random % 3),
        (random) =>
          context.input(
            "disk0-tray",
            trayBytes(random & 1 ? { kind: "insert", sizeBytes: LARGE } : { kind: "eject", force: false }),
          ),
      ],
      observe: () => `${rig.disk.requests.length} ${rig.device.registers.read(REGISTER.MSR, 1)}`,
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
