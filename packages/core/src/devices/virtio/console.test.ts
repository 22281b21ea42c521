import { describe, expect, it } from "vitest";
import { StateError } from "../../state/errors.ts";
import { deviceContract } from "../contract.ts";
import type { StateValue } from "../device.ts";
import { FakeContext } from "../fake-context.ts";
import { CONSOLE_WINDOW_BYTES, createVirtioConsole, type VirtioConsoleOptions } from "./console.ts";
import {
  CONTROL_EVENT,
  type ControlMessage,
  decodeControl,
  decodePortCommands,
  decodePortReport,
  encodeControl,
  encodePortCommand,
  type PortCommand,
  type PortReport,
} from "./console-control.ts";
import { FakeDriver } from "./fake-driver.ts";
import { VIRTIO_F } from "./model.ts";
import { BAR_LAYOUT, DEVICE_STATUS, ISR } from "./pci-transport.ts";

const F_SIZE = 1n << 0n;
const F_MULTIPORT = 1n << 1n;
const EVENT_IDX = 1n << BigInt(VIRTIO_F.EVENT_IDX);
const PORTS = [
  { name: "con", isConsole: true },
  { name: "agent", channel: "agent0" },
] as const;
const OPTIONS: VirtioConsoleOptions = { name: "console0", ports: PORTS, columns: 100, rows: 30 };
const QUEUES = 6;
const [CONTROL_RX, CONTROL_TX, AGENT_RX, AGENT_TX] = [2, 3, 4, 5];
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);
const text = (data: Uint8Array): string => new TextDecoder().decode(data);

function setUp() {
  const context = new FakeContext({ memoryBytes: 0x10_0000 });
  const device = createVirtioConsole(context, OPTIONS);
  const driver = new FakeDriver(context, device);
  const rig = {
    context,
    device,
    driver,
    buffers: [] as number[],
    start: (): void => {
      driver.negotiate(F_SIZE | F_MULTIPORT);
      driver.start(QUEUES, 32);
      for (let i = 0; i < 16; i++) rig.buffers.push(driver.offer(CONTROL_RX, 64));
    },
    control: (event: number, port = 0, value = 1): void =>
      driver.send(CONTROL_TX, encodeControl({ port, event, value })),
    /** Messages and payloads that the guest got on the control queue. */
    collect: (): [ControlMessage, string][] =>
      driver.used(CONTROL_RX).map(({ writtenBytes }) => {
        const data = driver.bytesAt(rig.buffers.shift()!, writtenBytes);
        return [decodeControl(data), text(data.subarray(8))];
      }),
    /** The whole greeting of Linux' driver, with the agent's port opened. */
    greet: (): void => {
      rig.start();
      rig.control(CONTROL_EVENT.DEVICE_READY);
      for (const port of [0, 1]) rig.control(CONTROL_EVENT.PORT_READY, port);
      rig.control(CONTROL_EVENT.PORT_OPEN, 1);
      rig.collect();
    },
    command: (channel: string, command: PortCommand): void =>
      context.input(`${channel}.ctl`, encodePortCommand(command)),
    reports: (channel: string): PortReport[] =>
      context.outputs.flatMap(([name, data]) => {
        const report = name === `${channel}.ctl` ? decodePortReport(data) : undefined;
        return report ? [report] : [];
      }),
  };
  return rig;
}

describe("ports", () => {
  it("are announced when the driver is ready, with kind, size, name and state", () => {
    const rig = setUp();
    rig.start();
    rig.control(CONTROL_EVENT.DEVICE_READY);
    expect(rig.collect().map(([message]) => message)).toEqual([
      { port: 0, event: CONTROL_EVENT.DEVICE_ADD, value: 1 },
      { port: 1, event: CONTROL_EVENT.DEVICE_ADD, value: 1 },
    ]);
    rig.command("agent0", { kind: "open" });
    expect(rig.collect()).toEqual([]);
    rig.control(CONTROL_EVENT.PORT_READY, 0);
    rig.control(CONTROL_EVENT.PORT_READY, 1);
    expect(rig.collect()).toEqual([
      [{ port: 0, event: CONTROL_EVENT.CONSOLE_PORT, value: 1 }, ""],
      [{ port: 0, event: CONTROL_EVENT.RESIZE, value: 0 }, text(Uint8Array.of(100, 0, 30, 0))],
      [{ port: 0, event: CONTROL_EVENT.PORT_NAME, value: 1 }, "con"],
      [{ port: 1, event: CONTROL_EVENT.PORT_NAME, value: 1 }, "agent"],
      [{ port: 1, event: CONTROL_EVENT.PORT_OPEN, value: 1 }, ""],
    ]);
  });

  it("report what the guest does with them, once", () => {
    const rig = setUp();
    rig.greet();
    rig.control(CONTROL_EVENT.PORT_OPEN, 1);
    rig.control(CONTROL_EVENT.PORT_OPEN, 1, 0);
    expect(rig.reports("agent0")).toEqual([{ kind: "guest-open" }, { kind: "guest-close" }]);
    expect(rig.device.portStatus(1)).toEqual({ hostOpen: false, guestOpen: false, windowBytes: CONSOLE_WINDOW_BYTES });
  });

  it("tell the guest about the outside: open, close, a new size", () => {
    const rig = setUp();
    rig.greet();
    rig.command("agent0", { kind: "open" });
    rig.command("agent0", { kind: "open" });
    rig.command("agent0", { kind: "close" });
    rig.command("con", { kind: "resize", columns: 80, rows: 25 });
    rig.command("agent0", { kind: "resize", columns: 80, rows: 25 });
    expect(rig.collect().map(([message, payload]) => [message.port, message.event, message.value, payload])).toEqual([
      [1, CONTROL_EVENT.PORT_OPEN, 1, ""],
      [1, CONTROL_EVENT.PORT_OPEN, 0, ""],
      [0, CONTROL_EVENT.RESIZE, 0, text(Uint8Array.of(80, 0, 25, 0))],
    ]);
  });

  it("without control buffers, changes wait in bounded number and end in the last state", () => {
    const rig = setUp();
    rig.driver.negotiate(F_MULTIPORT);
    rig.driver.start(QUEUES, 32);
    for (const event of [CONTROL_EVENT.DEVICE_READY, CONTROL_EVENT.PORT_READY]) rig.control(event, 1);
    for (let i = 0; i < 101; i++) {
      rig.command("agent0", { kind: i % 2 === 0 ? "open" : "close" });
      rig.control(CONTROL_EVENT.DEVICE_READY);
      rig.control(CONTROL_EVENT.PORT_READY, 1);
    }
    for (let i = 0; i < 16; i++) rig.buffers.push(rig.driver.offer(CONTROL_RX, 64));
    const events = rig.collect().map(([message]) => message);
    expect(events.length).toBeLessThanOrEqual(12);
    expect(events.findLast((message) => message.event === CONTROL_EVENT.PORT_OPEN)?.value).toBe(1);
  });
});

describe("bytes from the guest", () => {
  it("leave on the port's channel, gathered", () => {
    const { driver, context, greet } = setUp();
    greet();
    context.memory.write(0x8000, bytes("gathered"));
    driver.add(AGENT_TX, [
      { gpa: 0x8000, sizeBytes: 3, writable: false },
      { gpa: 0x8003, sizeBytes: 5, writable: false },
    ]);
    driver.kick(AGENT_TX);
    expect(text(context.sent("agent0"))).toBe("gathered");
    expect(driver.used(AGENT_TX)).toHaveLength(1);
  });

  it("wait in the guest's buffers between STOP and GO", () => {
    const { driver, context, greet, command } = setUp();
    greet();
    command("agent0", { kind: "stop" });
    driver.send(AGENT_TX, bytes("later"));
    expect(driver.used(AGENT_TX)).toEqual([]);
    expect(context.sent("agent0")).toHaveLength(0);
    command("agent0", { kind: "go" });
    expect(text(context.sent("agent0"))).toBe("later");
    expect(driver.used(AGENT_TX)).toHaveLength(1);
  });

  it("more in one buffer than any driver sends needs a reset, without an allocation of that size", () => {
    const { driver, greet } = setUp();
    greet();
    driver.add(AGENT_TX, new Array(30).fill({ gpa: 0, sizeBytes: 0xf_0000, writable: false }));
    driver.kick(AGENT_TX);
    expect(driver.status & DEVICE_STATUS.DEVICE_NEEDS_RESET).not.toBe(0);
  });
});

describe("bytes to the guest", () => {
  it("wait for the guest to open the port and to give buffers, and free the window then", () => {
    const rig = setUp();
    const { driver, context } = rig;
    context.input("agent0", bytes("hello "));
    rig.start();
    rig.control(CONTROL_EVENT.DEVICE_READY);
    rig.control(CONTROL_EVENT.PORT_READY, 1);
    const first = driver.offer(AGENT_RX, 8);
    context.input("agent0", bytes("world"));
    expect(driver.used(AGENT_RX)).toEqual([]);
    rig.control(CONTROL_EVENT.PORT_OPEN, 1);
    expect(driver.used(AGENT_RX).map((entry) => entry.writtenBytes)).toEqual([8]);
    expect(text(driver.bytesAt(first, 8))).toBe("hello wo");
    const second = driver.offer(AGENT_RX, 8);
    expect(text(driver.bytesAt(second, 3))).toBe("rld");
    expect(rig.reports("agent0")).toEqual([
      { kind: "guest-open" },
      { kind: "credit", bytes: 8 },
      { kind: "credit", bytes: 3 },
    ]);
  });

  it("beyond the window are dropped and reported", () => {
    const rig = setUp();
    rig.context.input("agent0", new Uint8Array(CONSOLE_WINDOW_BYTES - 1));
    rig.context.input("agent0", new Uint8Array(10));
    expect(rig.reports("agent0")).toEqual([{ kind: "dropped", bytes: 9 }]);
    expect(rig.device.portStatus(1)?.windowBytes).toBe(0);
  });

  it("survive a reset by the driver, not by the system, and not DISCARD", () => {
    const rig = setUp();
    rig.context.input("agent0", bytes("kept"));
    rig.driver.status = 0;
    expect(rig.device.portStatus(1)?.windowBytes).toBe(CONSOLE_WINDOW_BYTES - 4);
    rig.device.reset();
    expect(rig.device.portStatus(1)?.windowBytes).toBe(CONSOLE_WINDOW_BYTES);
    rig.context.input("agent0", bytes("dropped"));
    rig.command("agent0", { kind: "discard" });
    expect(rig.reports("agent0")).toEqual([
      { kind: "credit", bytes: 4 },
      { kind: "credit", bytes: 7 },
    ]);
  });

  it("a guest that resets the device has closed its ports", () => {
    const rig = setUp();
    rig.greet();
    rig.driver.status = 0;
    expect(rig.reports("agent0").at(-1)).toEqual({ kind: "guest-close" });
  });
});

describe("a driver without MULTIPORT", () => {
  it("has one port that is always open, and learns sizes from the configuration", () => {
    const rig = setUp();
    const { driver, device, context } = rig;
    rig.context.input("con", bytes("typed"));
    driver.negotiate(F_SIZE);
    driver.start(QUEUES);
    const gpa = driver.offer(0, 16);
    expect(text(driver.bytesAt(gpa, 5))).toBe("typed");
    driver.send(1, bytes("shown"));
    expect(text(context.sent("con"))).toBe("shown");
    expect(device.read(BAR_LAYOUT.device, 4)).toBe(100 | (30 << 16));
    expect(device.read(BAR_LAYOUT.device + 4, 4)).toBe(PORTS.length);
    device.read(BAR_LAYOUT.isr, 1);
    rig.command("con", { kind: "resize", columns: 132, rows: 43 });
    expect(device.read(BAR_LAYOUT.isr, 1)).toBe(ISR.CONFIG);
    expect(device.read(BAR_LAYOUT.device, 4)).toBe(132 | (43 << 16));
    driver.send(AGENT_TX, bytes("nowhere"));
    expect(context.sent("agent0")).toHaveLength(0);
  });
});

it("a copy carries on with waiting bytes, waiting messages and stopped ports", () => {
  const rig = setUp();
  rig.greet();
  rig.command("agent0", { kind: "open" });
  rig.command("agent0", { kind: "stop" });
  rig.context.input("agent0", bytes("waiting"));
  rig.driver.send(AGENT_TX, bytes("unsent"));
  const context = new FakeContext({ memoryBytes: 0x10_0000 });
  context.copyFrom(rig.context);
  const copy = createVirtioConsole(context, OPTIONS);
  copy.restore(rig.device.save());
  expect(copy.save()).toEqual(rig.device.save());
  expect(copy.portStatus(1)).toEqual(rig.device.portStatus(1));
  context.input("agent0.ctl", encodePortCommand({ kind: "go" }));
  expect(text(context.sent("agent0"))).toBe("unsent");
});

it("commands are decoded one after the other, up to the first that is none", () => {
  const commands: PortCommand[] = [
    { kind: "open" },
    { kind: "resize", columns: 65535, rows: 1 },
    { kind: "discard" },
    { kind: "stop" },
    { kind: "go" },
    { kind: "close" },
  ];
  const all = Uint8Array.from(commands.flatMap((command) => [...encodePortCommand(command)]));
  expect(decodePortCommands(all)).toEqual(commands);
  expect(decodePortCommands(Uint8Array.of(1, 99, 2))).toEqual([{ kind: "open" }]);
  expect(decodePortCommands(Uint8Array.of(2, 3, 0, 0, 0))).toEqual([{ kind: "close" }]);
  expect(decodePortReport(Uint8Array.of())).toBeUndefined();
  expect(decodePortReport(Uint8Array.of(3, 1))).toBeUndefined();
});

it("refuses a state with messages that never wait, which could be too many for the next one", () => {
  const { device } = setUp();
  const state = device.save() as Record<string, StateValue>;
  const waiting = (...pending: number[]) => {
    const console = { ...(state.device as Record<string, StateValue>), pending };
    return { ...state, device: console };
  };
  device.restore(waiting(0, CONTROL_EVENT.PORT_OPEN, 1, 0, CONTROL_EVENT.PORT_OPEN, 0));
  expect(() => device.restore(waiting(0, 99, 1))).toThrow(StateError);
  expect(() => device.restore(waiting(0, CONTROL_EVENT.DEVICE_ADD, 0))).toThrow(StateError);
  const twice = [1, CONTROL_EVENT.PORT_NAME, 1];
  expect(() => device.restore(waiting(...twice, ...twice))).toThrow(StateError);
});

describe("contract", () => {
  const checks = deviceContract((context) => {
    const device = createVirtioConsole(context, OPTIONS);
    device.pci.connect({ intx: context.line("intx"), msi: () => {}, decodeChanged: () => {} });
    let driver: FakeDriver | undefined;
    const { memory } = context;
    return {
      device,
      ranges: [
        { handler: device, length: 0x40 },
        { handler: device, length: BAR_LAYOUT.sizeBytes },
      ],
      setUp: () => {
        driver = new FakeDriver(context, device);
        driver.negotiate(F_MULTIPORT | EVENT_IDX);
        driver.start(QUEUES);
        for (const queue of [0, CONTROL_RX, AGENT_RX]) {
          for (let i = 0; i < 6; i++) driver.offer(queue, 100);
        }
        driver.send(CONTROL_TX, encodeControl({ port: 0, event: CONTROL_EVENT.DEVICE_READY, value: 1 }));
        for (const port of [0, 1]) {
          driver.send(CONTROL_TX, encodeControl({ port, event: CONTROL_EVENT.PORT_READY, value: 1 }));
          driver.send(CONTROL_TX, encodeControl({ port, event: CONTROL_EVENT.PORT_OPEN, value: 1 }));
        }
      },
      events: [
        (random) => context.input("agent0.ctl", Uint8Array.of(1 + (random % 2))),
        (random) => context.input("con.ctl", Uint8Array.of(3, random, 0, random >> 8, 0)),
        (random) => device.write(BAR_LAYOUT.notify + 4 * (random % QUEUES), 2, 0),
        (random) => memory.write8(0x1000 + (random % 0x1800), random >>> 16),
        (random) => {
          // One more chain on one of the rings, of whatever the descriptors say.
          const index = 0x1000 + 128 + 2 + (random % QUEUES) * 224;
          memory.write16(index, ((memory.read16(index) ?? 0) + 1) & 0xffff);
        },
      ],
      observe: () => JSON.stringify([device.portStatus(0), device.portStatus(1)]),
    };
  });
  it.each(checks)("$name", ({ run }) => run());
});

it("fuzzed queues: no exception, bounded output", () => {
  let seed = 11;
  const random = (): number => {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0;
    return (seed ^ (seed >>> 15)) >>> 0;
  };
  for (let round = 0; round < 150; round++) {
    const { driver, context, device } = setUp();
    driver.negotiate(random() % 2 ? F_MULTIPORT : 0n);
    driver.start(QUEUES);
    for (let queue = 0; queue < QUEUES; queue++) {
      const { desc, driver: available } = driver.ring(queue);
      for (let slot = 0; slot < 8; slot++) {
        const sizeBytes = random() % 5 === 0 ? random() : random() % 300;
        driver.writeDescriptor(queue, slot, random() % 0x10_4000, sizeBytes, random() % 4, random() % 9);
      }
      if (random() % 3 === 0) context.memory.write16(desc + 16 * (random() % 8), random());
      for (let i = 0; i < 8; i++) context.memory.write16(available + 4 + 2 * i, random() % 8);
    }
    for (let step = 0; step < 60; step++) {
      const queue = random() % QUEUES;
      const available = driver.ring(queue).driver;
      context.memory.write16(available + 2, (context.memory.read16(available + 2)! + (random() % 3)) & 0xffff);
      driver.kick(queue);
      const channel = context.channels[random() % context.channels.length]!;
      context.input(channel, Uint8Array.from({ length: random() % 200 }, random));
    }
    device.restore(device.save());
    let sentBytes = 0;
    for (const [, data] of context.outputs) sentBytes += data.length;
    expect(sentBytes).toBeLessThan(200 * 1024 * 1024);
  }
});
