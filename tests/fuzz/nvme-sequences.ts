/**
 * A driver of an NVMe controller for device-fuzz.ts. The oracle of writes: completion queues as they were created, and the pages
 * of commands and lists that the controller has looked at.
 */
import type { AccessSize } from "../../packages/core/src/bus/io.ts";
import { BLOCK_LIMITS } from "../../packages/core/src/devices/block-channel.ts";
import { createNvme } from "../../packages/core/src/devices/nvme/controller.ts";
import { ADMIN, BAR_BYTES, CC, CSTS, DOORBELLS, NVM, REG } from "../../packages/core/src/devices/nvme/registers.ts";
import type { FuzzedDevice, Operation, Random } from "./device-fuzz.ts";
import { diskEvents } from "./operations.ts";

const ENTRIES = 16;
const PAGE = 4096;
/** Of pair n, the admin pair first: a page for submissions and one for completions. */
const QUEUES = 0x1000;
const PAIRS = 3;
const LISTS = 0x7000;
/** Where an entry can only be a pointer to the next list. */
const LAST_OF_LIST = LISTS + PAGE - 8;
const DATA = 0x8000;
const DISK_BYTES = 2 ** 20;
const ENABLE = CC.EN | (6 << 16) | (4 << 20);
const ADMIN_CODES = Object.values(ADMIN);
const NVM_CODES = Object.values(NVM);

const write = (offset: number, value: number, size: AccessSize = 4): Operation => ({
  kind: "write",
  range: 0,
  offset,
  size,
  value: value >>> 0,
});
const submissionsOf = (pair: number): number => QUEUES + pair * 2 * PAGE;
const completionsOf = (pair: number): number => submissionsOf(pair) + PAGE;

export const NVME: FuzzedDevice = {
  name: "nvme",
  build: (context) => {
    const device = createNvme(context, { name: "disk0", sizeBytes: DISK_BYTES, isReadOnly: false });
    device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
    const disk = context.disks.get("disk0")!;
    const { memory } = context;
    /** Of pages that a command or a list has named: where they may be written from. */
    const pages = new Map<number, number>();
    const allow = (entry: bigint): void => {
      if (entry >= BigInt(memory.bytes.length)) return;
      const gpa = Number(entry);
      const page = gpa - (gpa % PAGE);
      pages.set(page, Math.min(pages.get(page) ?? PAGE, gpa % PAGE));
    };
    interface Saved {
      readonly queues: {
        completions: { gpa: number; entries: number; tail: number }[];
        submissions: { id: number; gpa: number; entries: number; head: number; tail: number }[];
      };
      readonly work: { regions: { gpa: number }[] }[];
    }
    const saved = (): Saved => device.save() as unknown as Saved;
    let cid = 0;

    const entry = (random: Random, pair: number, code: number): Uint8Array => {
      const view = new DataView(new ArrayBuffer(64));
      view.setUint32(0, code | ((cid++ & 0xffff) << 16), true);
      view.setUint32(4, random(8) ? 1 : random(3), true);
      view.setBigUint64(24, BigInt(DATA + PAGE * random(6) + (random(2) ? 0 : 4 * random(1024))), true);
      view.setBigUint64(
        32,
        BigInt(random(2) ? DATA + PAGE * random(7) : random(4) ? LISTS + 8 * random(512) : LAST_OF_LIST),
        true,
      );
      const sector = random(8) ? random(DISK_BYTES / 512 - 32) : DISK_BYTES / 512 - random(8);
      view.setUint32(
        40,
        pair === 0 ? adminDword10(random, code) : code === NVM.DATASET_MANAGEMENT ? random(4) : sector,
        true,
      );
      view.setUint32(44, pair === 0 ? adminDword11(random, code) : code === NVM.DATASET_MANAGEMENT ? 4 : 0, true);
      if (pair > 0) view.setUint32(48, random(32) | (random(4) ? 0 : 1 << 30), true);
      if (pair === 0 && (code === ADMIN.CREATE_IO_CQ || code === ADMIN.CREATE_IO_SQ)) {
        const id = view.getUint16(40, true) % PAIRS || 1;
        view.setBigUint64(24, BigInt(code === ADMIN.CREATE_IO_CQ ? completionsOf(id) : submissionsOf(id)), true);
      }
      return new Uint8Array(view.buffer);
    };
    const issue = (pair: number, bytes: Uint8Array): Operation[] => {
      const queue = saved().queues.submissions.find(({ id }) => id === pair);
      if (!queue) return [];
      return [
        { kind: "memory", gpa: queue.gpa + 64 * queue.tail, bytes },
        write(DOORBELLS + 8 * pair, (queue.tail + 1) % queue.entries),
      ];
    };
    const takeAll = (): Operation[] =>
      (device.save() as { queues: { completions: readonly { id: number; tail: number }[] } }).queues.completions.map(
        ({ id, tail }) => write(DOORBELLS + 8 * id + 4, tail),
      );
    const createEntry = (code: number, pair: number): Uint8Array => {
      const view = new DataView(new ArrayBuffer(64));
      view.setUint32(0, code | ((cid++ & 0xffff) << 16), true);
      const isCompletion = code === ADMIN.CREATE_IO_CQ;
      view.setBigUint64(24, BigInt(isCompletion ? completionsOf(pair) : submissionsOf(pair)), true);
      view.setUint32(40, pair | ((ENTRIES - 1) << 16), true);
      view.setUint32(44, (isCompletion ? 3 : 1) | (pair << 16), true);
      return new Uint8Array(view.buffer);
    };
    const start = (): Operation[] => [
      write(REG.CC, 0),
      write(REG.AQA, (ENTRIES - 1) | ((ENTRIES - 1) << 16)),
      write(REG.ASQ, submissionsOf(0)),
      write(REG.ASQ + 4, 0),
      write(REG.ACQ, completionsOf(0)),
      write(REG.ACQ + 4, 0),
      write(REG.CC, ENABLE),
    ];
    const pairs = (): Operation[] => {
      const { queues } = saved();
      const entries = [1, 2].flatMap((pair) => [
        createEntry(ADMIN.CREATE_IO_CQ, pair),
        createEntry(ADMIN.CREATE_IO_SQ, pair),
      ]);
      const admin = queues.submissions.find(({ id }) => id === 0);
      if (!admin) return [];
      return [
        ...takeAll(),
        ...entries.map(
          (bytes, i): Operation => ({
            kind: "memory",
            gpa: admin.gpa + 64 * ((admin.tail + i) % admin.entries),
            bytes,
          }),
        ),
        write(DOORBELLS, (admin.tail + entries.length) % admin.entries),
      ];
    };

    return {
      device,
      ranges: [{ handler: device, length: BAR_BYTES }],
      events: diskEvents(disk),
      start,
      sees: (_gpa, bytes) => {
        if (bytes.length % 8 !== 0 || bytes.length > PAGE) return;
        const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
        if (bytes.length === 64) for (const at of [24, 32]) allow(view.getBigUint64(at, true));
        for (let at = 0; at < bytes.length && bytes.length <= 264; at += 8) allow(view.getBigUint64(at, true));
      },
      mayWrite: (gpa, length) => {
        const { queues, work } = saved();
        const isEntry = ({ gpa: base, entries, tail }: Saved["queues"]["completions"][number]): boolean =>
          gpa === base + 16 * tail && tail < entries;
        if (length === 16 && queues.completions.some(isEntry)) return true;
        for (const { regions } of work) for (const region of regions) allow(BigInt(region.gpa));
        const from = pages.get(gpa - (gpa % PAGE));
        return from !== undefined && gpa % PAGE >= from && (gpa % PAGE) + length <= PAGE;
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
        const csts = device.read(REG.CSTS, 4);
        if (csts !== CSTS.RDY && random(3) !== 0) return start();
        if (saved().queues.submissions.length < 2 && random(4) !== 0) return pairs();
        switch (random(8)) {
          case 0:
            return [{ kind: "event", event: random(4), value: random(2 ** 32) }];
          case 1:
            return [{ kind: "event", event: 0, value: random(2 ** 32) }];
          case 2:
            return takeAll();
          case 3: {
            if (random(4) === 0) {
              const last = new DataView(new ArrayBuffer(8));
              last.setBigUint64(0, BigInt(random(2) ? LAST_OF_LIST : LISTS), true);
              return [{ kind: "memory", gpa: LAST_OF_LIST, bytes: new Uint8Array(last.buffer) }];
            }
            const list = new DataView(new ArrayBuffer(64));
            for (let i = 0; i < 8; i++)
              list.setBigUint64(8 * i, BigInt(random(8) ? DATA + PAGE * random(7) : LISTS), true);
            return [{ kind: "memory", gpa: LISTS + 8 * random(504), bytes: new Uint8Array(list.buffer) }];
          }
          case 4:
            return issue(0, entry(random, 0, ADMIN_CODES[random(ADMIN_CODES.length)]!));
          case 5:
            if (random(16)) return pairs();
            return [write(REG.CC, random(2) ? ENABLE | CC.SHN : random(2 ** 32))];
          default:
            return issue(1 + random(2), entry(random, 1, NVM_CODES[random(NVM_CODES.length)]!));
        }
      },
    };
  },
};

function adminDword10(random: Random, code: number): number {
  switch (code) {
    case ADMIN.IDENTIFY:
      return random(5);
    case ADMIN.GET_LOG_PAGE:
      return (1 + random(3)) | (random(2) ? 127 << 16 : random(2 ** 12) << 16);
    case ADMIN.GET_FEATURES:
    case ADMIN.SET_FEATURES:
      return random(12);
    default:
      return random(4) | ((ENTRIES - 1) << 16);
  }
}

function adminDword11(random: Random, code: number): number {
  if (code === ADMIN.CREATE_IO_CQ) return random(4) | (random(10) << 16);
  if (code === ADMIN.CREATE_IO_SQ) return 1 | (random(3) << 16);
  return code === ADMIN.SET_FEATURES ? random(2 ** 17) : 0;
}
