import { describe, expect, it } from "vitest";
import { CONFIG } from "../../bus/pci/config-space.ts";
import { deviceContract } from "../contract.ts";
import { FakeContext, type FakeDisk } from "../fake-context.ts";
import { createNvme, type NvmeController } from "./controller.ts";
import { DATA, ENABLE, ENTRIES, type Entry, FakeNvmeDriver } from "./fake-nvme-driver.ts";
import type { NvmeDisk } from "./nvme-work.ts";
import { ADMIN, BAR_BYTES, CC, CSTS, DOORBELLS, NVM, REG, STATUS } from "./registers.ts";

const MIB = 2 ** 20;
const DISK: NvmeDisk = { name: "disk0", sizeBytes: 64 * MIB, isReadOnly: false };

interface Rig {
  readonly context: FakeContext;
  readonly device: NvmeController;
  readonly driver: FakeNvmeDriver;
  readonly disk: FakeDisk;
}

function setUp(disk: Partial<NvmeDisk> = {}): Rig {
  const context = new FakeContext({ memoryBytes: 2 * MIB });
  const device = createNvme(context, { ...DISK, ...disk });
  device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
  const driver = new FakeNvmeDriver(context, device);
  driver.start();
  driver.createPair();
  return { context, device, driver, disk: context.disks.get("disk0")! };
}

const transfer = (opcode: number, lba: number, sectors: number, more: Partial<Entry> = {}): Entry => ({
  opcode,
  nsid: 1,
  prp1: DATA,
  dwords: [lba, 0, sectors - 1],
  ...more,
});
const view = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.length);

describe("the controller", () => {
  it("tells its limits and becomes ready", () => {
    const { driver } = setUp();
    expect(driver.read(REG.CAP) & 0xffff).toBe(1023);
    expect(driver.read(REG.VS)).toBe(0x0001_0400);
    expect(driver.read(REG.CSTS)).toBe(CSTS.RDY);
    driver.write(REG.CC, 0);
    expect(driver.read(REG.CSTS)).toBe(0);
  });

  it("fails to start with pages or queues that there are none of", () => {
    const { driver } = setUp();
    driver.write(REG.CC, 0);
    driver.write(REG.CC, ENABLE | (1 << 7));
    expect(driver.read(REG.CSTS)).toBe(CSTS.CFS);
    driver.write(REG.CC, 0);
    driver.write(REG.AQA, 0);
    driver.write(REG.CC, ENABLE);
    expect(driver.read(REG.CSTS)).toBe(CSTS.CFS);
  });

  it("stops where a queue is not in memory", () => {
    const { driver } = setUp();
    driver.write(REG.CC, 0);
    driver.write(REG.ASQ, 0x4000_0000);
    driver.write(REG.CC, ENABLE);
    driver.write(DOORBELLS, 1);
    expect(driver.read(REG.CSTS)).toBe(CSTS.RDY | CSTS.CFS);
  });

  it("makes durable what was written before it says that it is shut down", () => {
    const { driver, disk } = setUp();
    driver.write(REG.CC, ENABLE | (1 << 14));
    expect(driver.read(REG.CSTS)).toBe(CSTS.RDY | CSTS.SHST_BUSY);
    expect(disk.history).toEqual(["flush 0+0"]);
    disk.complete();
    expect(driver.read(REG.CSTS)).toBe(CSTS.RDY | CSTS.SHST_DONE);
  });

  it("identifies itself, its namespace and nothing else", () => {
    const { driver } = setUp();
    const identify = (cns: number, nsid: number): number =>
      driver.admin({ opcode: ADMIN.IDENTIFY, nsid, prp1: DATA, dwords: [cns] }).status;
    expect(identify(1, 0)).toBe(STATUS.SUCCESS);
    const controller = driver.bytes(DATA, 4096);
    expect(new TextDecoder().decode(controller.subarray(24, 43))).toBe("TWINMETAL NVME DISK");
    expect(controller[77]).toBe(5);
    expect(identify(0, 1)).toBe(STATUS.SUCCESS);
    expect(view(driver.bytes(DATA, 8)).getBigUint64(0, true)).toBe(131_072n);
    expect(driver.bytes(DATA + 130, 1)[0]).toBe(9);
    expect(identify(2, 0)).toBe(STATUS.SUCCESS);
    expect([...driver.bytes(DATA, 8)]).toEqual([1, 0, 0, 0, 0, 0, 0, 0]);
    expect(identify(3, 1)).toBe(STATUS.SUCCESS);
    expect([...driver.bytes(DATA, 2)]).toEqual([3, 16]);
    expect(identify(0, 2)).toBe(STATUS.INVALID_NAMESPACE);
    expect(identify(0x55, 1)).toBe(STATUS.INVALID_FIELD);
  });

  it("has features that are set, and numbers of queues that are not", () => {
    const { driver } = setUp();
    const get = (feature: number): number => driver.admin({ opcode: ADMIN.GET_FEATURES, dwords: [feature] }).result;
    const set = (feature: number, value: number): number =>
      driver.admin({ opcode: ADMIN.SET_FEATURES, dwords: [feature, value] }).status;
    expect(get(7)).toBe(0x0007_0007);
    expect(set(7, 0x0003_0003)).toBe(STATUS.SEQUENCE);
    expect(get(6)).toBe(1);
    expect(set(6, 0)).toBe(STATUS.SUCCESS);
    expect(get(6)).toBe(0);
    expect(set(0x8000_0006, 0)).toBe(STATUS.NOT_SAVEABLE);
    expect(set(0x7f, 0)).toBe(STATUS.INVALID_FIELD);
  });
});

describe("queues", () => {
  it("are created and deleted in their order", () => {
    const { driver } = setUp();
    const size = (ENTRIES - 1) << 16;
    const create = (opcode: number, id: number, dword11: number, prp1 = 0x6000): number =>
      driver.admin({ opcode, prp1, dwords: [size | id, dword11] }).status;
    expect(create(ADMIN.CREATE_IO_CQ, 1, 1)).toBe(STATUS.INVALID_QUEUE);
    expect(create(ADMIN.CREATE_IO_CQ, 9, 1)).toBe(STATUS.INVALID_QUEUE);
    expect(create(ADMIN.CREATE_IO_CQ, 2, 0)).toBe(STATUS.INVALID_FIELD);
    expect(create(ADMIN.CREATE_IO_CQ, 2, 3 | (9 << 16))).toBe(STATUS.INVALID_VECTOR);
    expect(create(ADMIN.CREATE_IO_CQ, 2, 1, 0x6010)).toBe(STATUS.INVALID_PRP_OFFSET);
    expect(create(ADMIN.CREATE_IO_SQ, 2, 1 | (2 << 16))).toBe(STATUS.INVALID_CQ);
    expect(driver.admin({ opcode: ADMIN.CREATE_IO_CQ, prp1: 0x6000, dwords: [2, 1] }).status).toBe(
      STATUS.INVALID_QUEUE_SIZE,
    );
    expect(driver.admin({ opcode: ADMIN.DELETE_IO_CQ, dwords: [1] }).status).toBe(STATUS.INVALID_QUEUE_DELETION);
    expect(driver.admin({ opcode: ADMIN.DELETE_IO_SQ, dwords: [1] }).status).toBe(STATUS.SUCCESS);
    expect(driver.admin({ opcode: ADMIN.DELETE_IO_CQ, dwords: [1] }).status).toBe(STATUS.SUCCESS);
    expect(driver.admin({ opcode: ADMIN.DELETE_IO_CQ, dwords: [1] }).status).toBe(STATUS.INVALID_QUEUE);
  });

  it("are deleted when what is under way has come back", () => {
    const { driver, disk } = setUp();
    driver.issue(1, transfer(NVM.READ, 0, 1));
    const cid = driver.issue(0, { opcode: ADMIN.DELETE_IO_SQ, dwords: [1] });
    expect(driver.take(0)).toBeUndefined();
    driver.issue(1, transfer(NVM.READ, 0, 1));
    expect(disk.requests).toHaveLength(1);
    disk.complete();
    expect(driver.take(1)?.status).toBe(STATUS.SUCCESS);
    expect(driver.take(0)).toMatchObject({ cid, status: STATUS.SUCCESS });
    expect(driver.take(1)).toBeUndefined();
  });

  it("that nobody empties stop the commands, not the controller", () => {
    const { driver, disk } = setUp();
    for (let i = 0; i < ENTRIES - 1; i++) driver.issue(1, transfer(NVM.READ, i, 1));
    while (disk.requests.length > 0) disk.complete();
    driver.issue(1, transfer(NVM.READ, 100, 1));
    expect(disk.requests).toEqual([]);
    expect(driver.take(1)?.sqHead).toBe(ENTRIES - 1);
    expect(disk.requests).toHaveLength(1);
  });

  it("take turns", () => {
    const { context, device, driver, disk } = setUp();
    driver.createPair(2);
    for (let i = 0; i < 4; i++) driver.issue(1, transfer(NVM.READ, i, 1));
    for (let i = 0; i < 4; i++) driver.issue(2, transfer(NVM.READ, 100 + i, 1));
    expect(disk.requests).toHaveLength(8);
    disk.complete(4);
    expect(driver.take(2)?.sq).toBe(2);
    expect(context.line("intx").level).toBe(false);
    expect(device.pci.msix?.enabled).toBe(false);
  });

  it("tell of doorbells that there are none of, once until the log is read", () => {
    const { driver } = setUp();
    const request = (): number => driver.issue(0, { opcode: ADMIN.ASYNC_EVENT_REQUEST });
    const cid = request();
    request();
    driver.write(DOORBELLS + 8 * 5, 1);
    expect(driver.take(0)).toMatchObject({ cid, status: 0, result: 0x0001_0000 });
    driver.write(DOORBELLS + 8, ENTRIES);
    expect(driver.take(0)).toBeUndefined();
    const read = driver.issue(0, { opcode: ADMIN.GET_LOG_PAGE, prp1: DATA, dwords: [1 | (63 << 16)] });
    expect([driver.take(0)?.cid, driver.take(0)?.result]).toEqual([read, 0x0001_0100]);
    for (let i = 0; i < 4; i++) request();
    expect(driver.admin({ opcode: ADMIN.ASYNC_EVENT_REQUEST }).status).toBe(STATUS.TOO_MANY_EVENTS);
  });
});

describe("commands", () => {
  it("read into pages that a list names", () => {
    const { context, driver, disk } = setUp();
    const list = 0x6ff8;
    context.memory.write64(list, 0x7000n);
    for (let i = 0; i < 3; i++) context.memory.write64(0x7000 + 8 * i, BigInt(0x2_0000 + 0x2000 * i));
    context.memory.write64(0x7018, 0x3_0008n);
    const cid = driver.issue(1, transfer(NVM.READ, 8, 32, { prp1: DATA + 0x800, prp2: list }));
    expect(disk.history).toEqual([]);
    expect(driver.take(1)?.status).toBe(STATUS.INVALID_PRP_OFFSET);
    context.memory.write64(0x7018, 0x3_0000n);
    driver.issue(1, transfer(NVM.READ, 8, 32, { prp1: DATA + 0x800, prp2: list }));
    expect(disk.history).toEqual(["read 4096+16384"]);
    disk.complete(0, { bytes: Uint8Array.from({ length: 16_384 }, (_, i) => i >> 8) });
    expect(driver.take(1)).toMatchObject({ cid: cid + 1, status: 0 });
    const first = (gpa: number): number => driver.bytes(gpa, 1)[0]!;
    expect([DATA + 0x800, 0x2_0000, 0x2_2000, 0x2_4000, 0x3_0000, 0x3_0700].map(first)).toEqual([0, 8, 24, 40, 56, 63]);
    expect(first(0x3_0800)).toBe(0);
  });

  it("write from two pages; flush after each without a cache", () => {
    const { context, driver, disk } = setUp();
    context.memory.write(DATA, new Uint8Array(4096).fill(3));
    context.memory.write(0x2_0000, new Uint8Array(4096).fill(4));
    driver.issue(1, transfer(NVM.WRITE, 0, 16, { prp2: 0x2_0000 }));
    expect([disk.requests[0]!.bytes[0], disk.requests[0]!.bytes[4096]]).toEqual([3, 4]);
    disk.complete();
    expect(driver.take(1)?.status).toBe(STATUS.SUCCESS);
    driver.admin({ opcode: ADMIN.SET_FEATURES, dwords: [6, 0] });
    driver.issue(1, transfer(NVM.WRITE, 0, 1));
    disk.complete();
    expect(driver.take(1)).toBeUndefined();
    disk.complete();
    expect(driver.take(1)?.status).toBe(STATUS.SUCCESS);
    expect(disk.history).toEqual(["write 0+8192", "write 0+512", "flush 0+0"]);
  });

  it("flush, write zeroes and discard ranges", () => {
    const { context, driver, disk } = setUp();
    driver.issue(1, { opcode: NVM.FLUSH, nsid: 0xffff_ffff });
    driver.issue(1, { opcode: NVM.WRITE_ZEROES, nsid: 1, dwords: [8, 0, (1 << 25) | 15] });
    const ranges = new DataView(new ArrayBuffer(32));
    ranges.setUint32(4, 8, true);
    ranges.setUint32(20, 16, true);
    ranges.setBigUint64(24, 64n, true);
    context.memory.write(DATA, new Uint8Array(ranges.buffer));
    driver.issue(1, { opcode: NVM.DATASET_MANAGEMENT, nsid: 1, prp1: DATA, dwords: [1, 4] });
    expect(disk.history).toEqual(["flush 0+0", "write-zeroes 4096+8192", "discard 0+4096", "discard 32768+8192"]);
    expect(disk.requests[1]!.mayUnmap).toBe(true);
    while (disk.requests.length > 0) disk.complete();
    for (let i = 0; i < 3; i++) expect(driver.take(1)?.status).toBe(STATUS.SUCCESS);
  });

  it.each<[string, Entry, number]>([
    ["another namespace", transfer(NVM.READ, 0, 1, { nsid: 2 }), STATUS.INVALID_NAMESPACE],
    ["sectors behind the end", transfer(NVM.READ, 131_072, 1), STATUS.OUT_OF_RANGE],
    ["an address of 64 bits", transfer(NVM.READ, 0, 1, { dwords: [0, 0xffff_ffff, 0] }), STATUS.OUT_OF_RANGE],
    ["more than a transfer has", transfer(NVM.READ, 0, 257), STATUS.INVALID_FIELD],
    ["a data pointer that is no dword's", transfer(NVM.READ, 0, 1, { prp1: DATA + 1 }), STATUS.INVALID_PRP_OFFSET],
    ["a list in no memory", transfer(NVM.READ, 0, 64, { prp2: 0x4000_0000 }), STATUS.DATA_TRANSFER],
    ["a list of lists without end", transfer(NVM.READ, 0, 64, { prp2: 0x6ff8 }), STATUS.INVALID_PRP_OFFSET],
    ["data in no memory", transfer(NVM.WRITE, 0, 1, { prp1: 0x4000_0000 }), STATUS.WRITE_FAULT],
    ["scatter-gather lists", transfer(NVM.READ, 0, 1, { flags: 0x40 }), STATUS.INVALID_FIELD],
    ["an opcode that there is none of", transfer(0x7f, 0, 1), STATUS.INVALID_OPCODE],
  ])("%s ends with a status", (_what, entry, status) => {
    const { context, driver } = setUp();
    context.memory.write64(0x6ff8, 0x6ff8n);
    driver.issue(1, entry);
    expect(driver.take(1)?.status).toBe(status);
  });

  it("that fail at the disk say so, and are in the log of errors", () => {
    const { driver, disk } = setUp();
    driver.issue(1, transfer(NVM.READ, 5, 1));
    disk.complete(0, { isOk: false });
    expect(driver.take(1)?.status).toBe(STATUS.UNRECOVERED_READ);
    driver.admin({ opcode: ADMIN.GET_LOG_PAGE, prp1: DATA, dwords: [1 | (63 << 16)] });
    expect(view(driver.bytes(DATA, 24)).getBigUint64(16, true)).toBe(5n);
    driver.admin({ opcode: ADMIN.GET_LOG_PAGE, prp1: DATA, dwords: [2 | (127 << 16)] });
    expect(driver.bytes(DATA + 176, 1)[0]).toBe(1);
    expect(driver.admin({ opcode: ADMIN.GET_LOG_PAGE, prp1: DATA, dwords: [0x77] }).status).toBe(
      STATUS.INVALID_LOG_PAGE,
    );
  });

  it("do not change a disk that is read-only", () => {
    const { driver, disk } = setUp({ isReadOnly: true });
    driver.issue(1, transfer(NVM.WRITE, 0, 1));
    expect(driver.take(1)?.status).toBe(STATUS.WRITE_PROTECTED);
    driver.issue(1, { opcode: NVM.WRITE_ZEROES, nsid: 1, dwords: [0, 0, 0] });
    expect(driver.take(1)?.status).toBe(STATUS.WRITE_PROTECTED);
    expect(disk.history).toEqual([]);
  });

  it("of before a reset come back to nobody, and keep new ones waiting", () => {
    const { driver, disk } = setUp();
    driver.issue(1, transfer(NVM.WRITE, 0, 1));
    driver.start();
    driver.createPair();
    driver.issue(1, transfer(NVM.WRITE, 0, 1));
    expect(disk.requests).toHaveLength(1);
    disk.complete();
    expect(driver.take(1)).toBeUndefined();
    expect(disk.requests).toHaveLength(1);
    disk.complete();
    expect(driver.take(1)?.status).toBe(STATUS.SUCCESS);
  });
});

it("interrupts by its pin until the completion is taken, and by MSI-X", () => {
  const { context, device, driver, disk } = setUp();
  const messages: number[] = [];
  device.pci.connect({
    intx: context.line("intx"),
    msi: ({ data }) => messages.push(data),
    decodeChanged: () => {},
  });
  driver.issue(1, { opcode: NVM.FLUSH, nsid: 1 });
  disk.complete();
  expect(context.line("intx").level).toBe(true);
  driver.write(REG.INTMS, 2);
  expect(context.line("intx").level).toBe(false);
  driver.write(REG.INTMC, 2);
  expect(context.line("intx").level).toBe(true);
  driver.take(1);
  expect(context.line("intx").level).toBe(false);
  device.pci.writeConfig(CONFIG.COMMAND, 2, 0x6);
  device.pci.msix!.write(16 + 8, 4, 77);
  device.pci.msix!.write(16 + 12, 4, 0);
  device.pci.msix!.setControl(0x8000);
  driver.issue(1, { opcode: NVM.FLUSH, nsid: 1 });
  disk.complete();
  expect(messages).toEqual([77]);
});

it("a restored controller submits what was under way again", () => {
  const { context, device, driver, disk } = setUp();
  context.memory.write(DATA, new Uint8Array(512).fill(9));
  driver.issue(1, transfer(NVM.READ, 8, 1, { prp1: DATA + 512 }));
  driver.issue(1, transfer(NVM.WRITE, 9, 1));
  driver.issue(0, { opcode: ADMIN.DELETE_IO_SQ, dwords: [1] });
  const state = device.save();
  const later = new FakeContext({ memoryBytes: 2 * MIB });
  later.copyFrom(context);
  const copy = createNvme(later, DISK);
  copy.restore(state);
  const again = later.disks.get("disk0")!;
  expect(again.requests).toEqual([]);
  copy.resume();
  expect(again.requests).toEqual(disk.requests);
  expect(copy.save()).toEqual(state);
  again.complete(0, { fill: 5 });
  again.complete(0);
  expect(later.memory.read8(DATA + 512)).toBe(5);
  expect(copy.read(REG.CSTS, 4)).toBe(CSTS.RDY);
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const device = createNvme(context, DISK);
    device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
    const disk = context.disks.get("disk0")!;
    const driver = new FakeNvmeDriver(context, device);
    const start = (): void => {
      driver.start();
      driver.createPair();
    };
    return {
      device,
      ranges: [{ handler: device, length: BAR_BYTES / 3 }],
      // What is nobody's any more goes out as a flush after a restore, so only the numbers are equal.
      observe: () => disk.requests.map(({ id }) => id).join(),
      setUp: start,
      events: [
        (random) => {
          const opcodes = [NVM.READ, NVM.WRITE, NVM.FLUSH, NVM.WRITE_ZEROES];
          const opcode = opcodes[random % opcodes.length]!;
          if (driver.read(REG.CSTS) !== CSTS.RDY) device.write(REG.CC, 4, 0);
          new FakeNvmeDriver(context, device).start();
          const other = new FakeNvmeDriver(context, device);
          other.start();
          other.createPair();
          for (let i = 0; i < 1 + ((random >>> 4) & 3); i++)
            other.issue(1, transfer(opcode, (random >>> 16) & 0xff, 1 + ((random >>> 8) & 7)));
        },
        (random) => {
          if (disk.requests.length === 0) return;
          disk.complete(random % disk.requests.length, { isOk: random % 8 !== 0, fill: random >>> 24 });
        },
        () => device.write(REG.CC, 4, ENABLE | CC.SHN),
        (random) => device.write(DOORBELLS + 4 * (random % 4), 4, (random >>> 8) % (ENTRIES + 1)),
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
