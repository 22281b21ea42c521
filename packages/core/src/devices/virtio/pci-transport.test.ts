import { describe, expect, it } from "vitest";
import { CAPABILITY_ID, COMMAND, CONFIG } from "../../bus/pci/config-space.ts";
import { MSIX_CONTROL } from "../../bus/pci/msix.ts";
import { deviceContract } from "../contract.ts";
import { FakeContext } from "../fake-context.ts";
import { FakeDriver } from "./fake-driver.ts";
import { VIRTIO_F } from "./model.ts";
import { BAR_LAYOUT, COMMON_CFG, DEVICE_STATUS, ISR, NO_VECTOR, type VirtioPciDevice } from "./pci-transport.ts";
import { createVirtioRng } from "./rng.ts";

const bit = (number: number): bigint => 1n << BigInt(number);
const ALL_FEATURES = bit(VIRTIO_F.INDIRECT_DESC) | bit(VIRTIO_F.EVENT_IDX);
const PACKED = ALL_FEATURES | bit(VIRTIO_F.RING_PACKED);

function setUp() {
  const context = new FakeContext();
  const device = createVirtioRng(context, { name: "rng0" });
  const messages: number[] = [];
  const intx = context.line("intx");
  device.pci.connect({ intx, msi: (message) => messages.push(message.data), decodeChanged: () => {} });
  return { context, device, intx, messages, driver: new FakeDriver(context, device) };
}

/** The vendor capabilities, as a driver walks them: [type, bar, offset, length]. */
function capabilities(device: VirtioPciDevice): number[][] {
  const { pci } = device;
  const found: number[][] = [];
  for (let at = pci.readConfig(CONFIG.CAPABILITIES_POINTER, 1); at; at = pci.readConfig(at + 1, 1)) {
    if (pci.readConfig(at, 1) !== CAPABILITY_ID.VENDOR_SPECIFIC) continue;
    found.push([
      at,
      pci.readConfig(at + 3, 1),
      pci.readConfig(at + 4, 1),
      pci.readConfig(at + 8, 4),
      pci.readConfig(at + 12, 4),
    ]);
  }
  return found;
}

function enableMsix(device: VirtioPciDevice, vectors: number): void {
  const { pci } = device;
  let at = pci.readConfig(CONFIG.CAPABILITIES_POINTER, 1);
  while (pci.readConfig(at, 1) !== CAPABILITY_ID.MSIX) at = pci.readConfig(at + 1, 1);
  for (let vector = 0; vector < vectors; vector++) {
    pci.msix!.write(16 * vector, 4, 0xfee0_0000);
    pci.msix!.write(16 * vector + 8, 4, 0x40 + vector);
    pci.msix!.write(16 * vector + 12, 4, 0);
  }
  pci.writeConfig(at + 2, 2, MSIX_CONTROL.ENABLE);
}

describe("configuration space", () => {
  it("identifies a modern device", () => {
    const { pci } = setUp().device;
    expect(pci.readConfig(CONFIG.VENDOR_ID, 4)).toBe(0x1044_1af4);
    expect(pci.readConfig(CONFIG.REVISION_ID, 1)).toBe(1);
  });

  it("points at the structures", () => {
    const found = capabilities(setUp().device).map(([, ...rest]) => rest);
    expect(found).toEqual([
      [1, 4, BAR_LAYOUT.common, 0x38],
      [2, 4, BAR_LAYOUT.notify, 4],
      [3, 4, BAR_LAYOUT.isr, 1],
      [5, 0, 0, 0],
    ]);
  });

  it("gives access to the BAR through the PCI configuration capability", () => {
    const { device } = setUp();
    const at = capabilities(device).at(-1)![0]!;
    const access = (offset: number, length: number): void => {
      device.pci.writeConfig(at + 4, 1, 4);
      device.pci.writeConfig(at + 8, 4, offset);
      device.pci.writeConfig(at + 12, 4, length);
    };
    access(COMMON_CFG.num_queues, 2);
    expect(device.pci.readConfig(at + 16, 2)).toBe(1);
    access(COMMON_CFG.device_status, 1);
    device.pci.writeConfig(at + 16, 1, 3);
    expect(device.read(COMMON_CFG.device_status, 1)).toBe(3);
    for (const [offset, length] of [
      [0xffff_fffc, 4],
      [0, 3],
      [BAR_LAYOUT.sizeBytes, 1],
    ] as const) {
      access(offset, length);
      device.pci.writeConfig(at + 16, 4, 0);
      device.pci.readConfig(at + 16, 4);
    }
    expect(device.read(COMMON_CFG.device_status, 1)).toBe(3);
  });
});

describe("initialisation", () => {
  it("offers and accepts features, and runs after DRIVER_OK", () => {
    const { driver } = setUp();
    expect(driver.offeredFeatures()).toBe(PACKED | bit(VIRTIO_F.VERSION_1) | bit(VIRTIO_F.ACCESS_PLATFORM));
    driver.negotiate(ALL_FEATURES);
    driver.start(1);
    expect(driver.status).toBe(0x0f);
  });

  it("refuses FEATURES_OK, and with it DRIVER_OK, for features that it did not offer or without VERSION_1", () => {
    const { driver, device } = setUp();
    driver.negotiate(1n << 40n);
    expect(driver.status & DEVICE_STATUS.FEATURES_OK).toBe(0);
    driver.status = 0;
    driver.status = 0x0f;
    expect(driver.status).toBe(DEVICE_STATUS.ACKNOWLEDGE | DEVICE_STATUS.DRIVER);
    driver.setUpQueue(0);
    expect(device.read(COMMON_CFG.queue_enable, 2)).toBe(0);
  });

  it("settles features with FEATURES_OK", () => {
    const { driver, device } = setUp();
    driver.negotiate(0n);
    device.write(COMMON_CFG.driver_feature_select, 4, 0);
    device.write(COMMON_CFG.driver_feature, 4, 0xffff_ffff);
    expect(device.read(COMMON_CFG.driver_feature, 4)).toBe(0);
  });

  it("shows a queue that does not exist as size 0, and refuses vectors and sizes that it does not have", () => {
    const { device } = setUp();
    device.write(COMMON_CFG.queue_msix_vector, 2, 1);
    expect(device.read(COMMON_CFG.queue_msix_vector, 2)).toBe(1);
    device.write(COMMON_CFG.queue_msix_vector, 2, 2);
    expect(device.read(COMMON_CFG.queue_msix_vector, 2)).toBe(NO_VECTOR);
    for (const size of [0, 3, 128]) device.write(COMMON_CFG.queue_size, 2, size);
    expect(device.read(COMMON_CFG.queue_size, 2)).toBe(64);
    device.write(COMMON_CFG.queue_select, 2, 1);
    expect(device.read(COMMON_CFG.queue_size, 2)).toBe(0);
  });

  it("status 0 resets the device, queues included", () => {
    const { driver, device } = setUp();
    driver.negotiate(0n);
    driver.start(1);
    driver.status = 0;
    expect(driver.status).toBe(0);
    expect(device.read(COMMON_CFG.queue_enable, 2)).toBe(0);
    expect(device.read(COMMON_CFG.queue_desc, 4)).toBe(0);
  });
});

describe("interrupts", () => {
  it("by INTx: reading ISR lowers it", () => {
    const { driver, device, intx } = setUp();
    driver.negotiate(0n);
    driver.start(1);
    driver.offer(0, 8);
    expect(intx.level).toBe(true);
    expect(device.read(BAR_LAYOUT.isr, 1)).toBe(ISR.QUEUE);
    expect(intx.level).toBe(false);
    expect(device.read(BAR_LAYOUT.isr, 1)).toBe(0);
  });

  it("by MSI-X: the queue's vector, and none without one", () => {
    const { driver, device, intx, messages } = setUp();
    driver.negotiate(0n);
    enableMsix(device, 2);
    driver.start(1);
    driver.offer(0, 8);
    expect(messages).toEqual([0x40]);
    device.write(COMMON_CFG.queue_msix_vector, 2, NO_VECTOR);
    driver.offer(0, 8);
    expect(messages).toEqual([0x40]);
    expect(intx.rises).toBe(0);
  });

  it("a broken queue sets DEVICE_NEEDS_RESET, tells the driver, and stops the device until it is reset", () => {
    const { driver, device, context } = setUp();
    driver.negotiate(0n);
    driver.start(1);
    device.read(BAR_LAYOUT.isr, 1);
    driver.makeAvailable(0, 999);
    driver.kick(0);
    expect(driver.status & DEVICE_STATUS.DEVICE_NEEDS_RESET).not.toBe(0);
    expect(device.read(BAR_LAYOUT.isr, 1)).toBe(ISR.CONFIG);
    driver.offer(0, 8);
    expect(driver.used(0)).toEqual([]);
    context.memory.bytes.fill(0);
    driver.negotiate(0n);
    driver.start(1);
    driver.offer(0, 8);
    expect(driver.used(0)).toHaveLength(1);
  });

  it("nothing is read or written while the function is not a bus master", () => {
    const { driver, device } = setUp();
    driver.negotiate(0n);
    driver.start(1);
    device.pci.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY_SPACE);
    driver.offer(0, 8);
    expect(driver.used(0)).toEqual([]);
    device.pci.writeConfig(CONFIG.COMMAND, 2, COMMAND.MEMORY_SPACE | COMMAND.BUS_MASTER);
    driver.kick(0);
    expect(driver.used(0)).toHaveLength(1);
  });
});

describe("entropy device", () => {
  it("fills buffers from the machine's random stream, at most 4 KiB at a time", () => {
    const { driver, context } = setUp();
    driver.negotiate(ALL_FEATURES);
    driver.start(1);
    const gpa = driver.offer(0, 16);
    const expected = new Uint8Array(16);
    new FakeContext().random(expected);
    expect(driver.bytesAt(gpa, 16)).toEqual(expected);
    driver.offer(0, 10_000);
    driver.add(0, [{ gpa: 0x100, sizeBytes: 4, writable: false }]);
    driver.kick(0);
    expect(driver.used(0).map((entry) => entry.writtenBytes)).toEqual([16, 4096, 0]);
    expect(context.outputs).toEqual([]);
  });

  it("a buffer outside RAM needs a reset", () => {
    const { driver } = setUp();
    driver.negotiate(0n);
    driver.start(1);
    driver.add(0, [{ gpa: 0xffff_0000, sizeBytes: 0xffff_ffff, writable: true }]);
    driver.kick(0);
    expect(driver.status & DEVICE_STATUS.DEVICE_NEEDS_RESET).not.toBe(0);
  });
});

it("a saved device with INTx asserted asserts it again when restored", () => {
  const { driver, device, context } = setUp();
  driver.negotiate(0n);
  driver.start(1);
  driver.offer(0, 8);
  const copy = createVirtioRng(context, { name: "rng0" });
  const intx = context.line("copy");
  copy.restore(device.save());
  copy.pci.connect({ intx, msi: () => {}, decodeChanged: () => {} });
  expect(intx.level).toBe(true);
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const device = createVirtioRng(context, { name: "rng0" });
    device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
    const config = {
      read: (offset: number, size: 1 | 2 | 4) => device.pci.readConfig(offset, size),
      write: (offset: number, size: 1 | 2 | 4, value: number) => device.pci.writeConfig(offset, size, value),
    };
    let driver: FakeDriver | undefined;
    return {
      device,
      ranges: [
        { handler: device, length: 0x40 },
        { handler: device, length: BAR_LAYOUT.sizeBytes },
        { handler: config, length: 256 },
        { handler: device.pci.msix!, length: 0x1000 },
      ],
      setUp: () => {
        driver = new FakeDriver(context, device);
        driver.negotiate(ALL_FEATURES);
        driver.start(1);
      },
      events: [
        (random) => context.memory.write32(0x1000 + (random % 0x400), random),
        () => device.write(BAR_LAYOUT.notify, 2, 0),
        (random) => context.memory.write16(0x1082, random % 16),
      ],
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});
