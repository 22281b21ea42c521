/**
 * A driver of an AHCI controller for device-fuzz.ts. The oracle of writes: the area for received frames, the counts in the
 * command list, and the regions of command tables that the port has looked at.
 */
import type { AccessSize } from "../../packages/core/src/bus/io.ts";
import { ATA } from "../../packages/core/src/devices/ahci/ata-disk.ts";
import { createAhci } from "../../packages/core/src/devices/ahci/controller.ts";
import {
  ABAR_BYTES,
  FIS_TYPE,
  GHC,
  HBA,
  PORT_BASE,
  PX,
  PXCMD,
} from "../../packages/core/src/devices/ahci/registers.ts";
import { BLOCK_LIMITS } from "../../packages/core/src/devices/block-channel.ts";
import type { FuzzedDevice, Operation, Random } from "./device-fuzz.ts";
import { diskEvents } from "./operations.ts";

const LIST = 0x1000;
const RECEIVED = 0x1400;
const TABLES = 0x2000;
const TABLE_BYTES = 0x100;
const DATA = 0x6000;
const SLOTS = 32;
const DISK_BYTES = 2 ** 20;
const MAX_REGIONS = 4;

const write = (offset: number, value: number, size: AccessSize = 4): Operation => ({
  kind: "write",
  range: 0,
  offset,
  size,
  value: value >>> 0,
});
const port = (register: number, value: number): Operation => write(PORT_BASE + register, value);

const START: readonly Operation[] = [
  port(PX.CLB, LIST),
  port(PX.CLB + 4, 0),
  port(PX.FB, RECEIVED),
  port(PX.FB + 4, 0),
  port(PX.SERR, 0xffff_ffff),
  port(PX.IS, 0xffff_ffff),
  port(PX.IE, 0x7d80_00ff),
  port(PX.CMD, PXCMD.FRE),
  port(PX.CMD, PXCMD.FRE | PXCMD.ST),
  write(HBA.GHC, GHC.IE),
];

function command(random: Random): Operation[] {
  const slot = random(SLOTS);
  const codes = Object.values(ATA);
  const code = random(2) ? codes[random(codes.length)]! : random(2) ? ATA.READ_FPDMA_QUEUED : ATA.WRITE_FPDMA_QUEUED;
  const isQueued = code === ATA.READ_FPDMA_QUEUED || code === ATA.WRITE_FPDMA_QUEUED;
  const count = 1 + random(4);
  const regions = 1 + random(MAX_REGIONS);
  const header = new DataView(new ArrayBuffer(32));
  header.setUint32(0, 5 | (regions << 16), true);
  header.setUint32(8, TABLES + slot * TABLE_BYTES, true);
  const table = new DataView(new ArrayBuffer(TABLE_BYTES));
  const sector = random(8) ? random(DISK_BYTES / 512 - 8) : DISK_BYTES / 512 - random(8);
  const fis = [FIS_TYPE.H2D, 0x80, code, isQueued ? count : code === ATA.DATA_SET_MANAGEMENT ? 1 : random(3)];
  fis.push(sector & 0xff, sector >> 8, 0, 0x40, 0, 0, 0, 0, isQueued ? slot << 3 : count);
  for (const [i, byte] of fis.entries()) table.setUint8(i, byte);
  for (let i = 0; i < regions; i++) {
    table.setUint32(0x80 + 16 * i, DATA + 2 * random(0x4000), true);
    table.setUint32(0x8c + 16 * i, 2 * (1 + random(1200)) - 1, true);
  }
  const at = slot * TABLE_BYTES;
  return [
    { kind: "memory", gpa: TABLES + at, bytes: new Uint8Array(table.buffer) },
    { kind: "memory", gpa: LIST + 32 * slot, bytes: new Uint8Array(header.buffer) },
    ...(isQueued ? [port(PX.SACT, 1 << slot)] : []),
    port(PX.CI, 1 << slot),
  ];
}

export const AHCI: FuzzedDevice = {
  name: "ahci",
  build: (context) => {
    const drive = { medium: "disk", name: "disk0", sizeBytes: DISK_BYTES, isReadOnly: false } as const;
    const device = createAhci(context, { name: "ahci", drives: [drive] });
    device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
    const disk = context.disks.get("disk0")!;
    const { memory } = context;
    const counts = new Set<number>();
    /** By address: entries. */
    const tables = new Map<number, number>();
    const isRegion = (gpa: number, length: number): boolean => {
      const view = new DataView(memory.bytes.buffer);
      for (const [table, entries] of tables) {
        for (let at = table, i = 0; i < entries && at + 16 <= view.byteLength; i++, at += 16) {
          const start = (view.getUint32(at, true) & ~1) >>> 0;
          if (gpa >= start && gpa + length <= start + (view.getUint32(at + 12, true) & 0x3f_fffe) + 2) return true;
        }
      }
      return false;
    };
    const lookAtState = (): void => {
      interface Saved {
        readonly ports: { requests: { work: { table: { gpa: number; entries: number } }[] } | null }[];
      }
      for (const { requests } of (device.save() as unknown as Saved).ports)
        for (const { table } of requests?.work ?? []) tables.set(table.gpa, table.entries);
    };
    return {
      device,
      ranges: [{ handler: device, length: ABAR_BYTES }],
      events: diskEvents(disk),
      start: () => [...START],
      sees: (gpa, bytes) => {
        if (bytes.length !== 32) return;
        const view = new DataView(bytes.buffer, bytes.byteOffset, 32);
        counts.add(gpa + 4);
        tables.set(((view.getUint32(8, true) & ~0x7f) >>> 0) + 0x80, view.getUint16(2, true));
      },
      mayWrite: (gpa, length) => {
        const area = (device.read(PORT_BASE + PX.FB, 4) & ~0xff) >>> 0;
        if (gpa >= area && gpa + length <= area + 0x100) return true;
        if ((length === 4 && counts.has(gpa)) || isRegion(gpa, length)) return true;
        lookAtState();
        return isRegion(gpa, length);
      },
      check: () => {
        disk.history.length = 0;
        if (disk.requests.length > BLOCK_LIMITS.requests) throw new Error(`${disk.requests.length} requests under way`);
        for (const { operation, offset, length } of disk.requests) {
          const isSound = offset % 512 === 0 && length % 512 === 0 && offset + length <= DISK_BYTES;
          if (!isSound || (operation === "flush") !== (length === 0) || (length === 0 && offset !== 0))
            throw new Error(`the request ${operation} ${offset}+${length}`);
        }
      },
      sequence: (random) => {
        const isStopped =
          device.read(PORT_BASE + PX.IS, 4) & 0x7800_0000 || (device.read(PORT_BASE + PX.CMD, 4) & 1) === 0;
        if (isStopped && random(3) !== 0) return [...START];
        switch (random(8)) {
          case 0:
            return [{ kind: "event", event: random(4), value: random(2 ** 32) }];
          case 1:
          case 2:
            return [{ kind: "event", event: 0, value: random(2 ** 32) }];
          case 3:
            if (random(4)) return command(random);
            return [
              port(4 * random(15), random(2 ** 32)),
              { kind: "read", range: 0, offset: PORT_BASE + PX.CI, size: 4 },
            ];
          case 4:
            if (random(16)) return command(random);
            return random(2) ? [port(PX.SCTL, 1), port(PX.SCTL, 0)] : [write(HBA.GHC, GHC.HR)];
          default:
            return command(random);
        }
      },
    };
  },
};
