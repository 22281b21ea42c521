import { beforeEach, describe, expect, it } from "vitest";
import { EthernetSwitch, MAX_SWITCH_PORTS, type SwitchPort } from "./ethernet-switch.ts";
import { FakeWorld } from "./fake-world.ts";

class Port implements SwitchPort {
  readonly frames: Uint8Array[] = [];

  send(frame: Uint8Array): void {
    this.frames.push(frame.slice());
  }

  /** How many came since it was asked last. */
  get count(): number {
    return this.frames.splice(0).length;
  }
}

const BROADCAST = 0xffff_ffff_ffff;

function frame(to: number, from: number, bytes = 60): Uint8Array {
  const made = new Uint8Array(bytes);
  const view = new DataView(made.buffer);
  for (const [at, mac] of [
    [0, to],
    [6, from],
  ] as const) {
    view.setUint16(at, Math.floor(mac / 2 ** 32));
    view.setUint32(at + 2, mac >>> 0);
  }
  return made;
}

const [A, B, C] = [0x5254_0000_0001, 0x5254_0000_0002, 0x5254_0000_0003];
let world: FakeWorld;
let itsSwitch: EthernetSwitch;
let a: Port;
let b: Port;
let c: Port;

beforeEach(() => {
  world = new FakeWorld();
  itsSwitch = new EthernetSwitch(world);
  [a, b, c] = [new Port(), new Port(), new Port()];
  for (const port of [a, b, c]) itsSwitch.attach(port);
});

const counts = (): number[] => [a, b, c].map((port) => port.count);

describe("a switch", () => {
  it("sends to all what is for all or for nobody it knows, and to one what is for that one", () => {
    itsSwitch.receive(a, frame(BROADCAST, A));
    expect(counts()).toEqual([0, 1, 1]);
    itsSwitch.receive(b, frame(C, B));
    expect(counts()).toEqual([1, 0, 1]);
    itsSwitch.receive(c, frame(A, C, 1514));
    expect(counts()).toEqual([1, 0, 0]);
    itsSwitch.receive(a, frame(C, A));
    expect(counts()).toEqual([0, 0, 1]);
    itsSwitch.receive(a, frame(A, A));
    expect(counts()).toEqual([0, 0, 0]);
  });

  it("forgets a station with its port, and one that is silent for five minutes", () => {
    itsSwitch.receive(a, frame(BROADCAST, A));
    itsSwitch.receive(b, frame(BROADCAST, B));
    counts();
    itsSwitch.detach(a);
    itsSwitch.receive(b, frame(A, B));
    expect(counts()).toEqual([0, 0, 1]);
    world.advance(299_000);
    itsSwitch.receive(c, frame(B, C));
    expect(counts()).toEqual([0, 1, 0]);
    itsSwitch.attach(a);
    world.advance(2000);
    itsSwitch.receive(c, frame(B, C));
    expect(counts()).toEqual([1, 1, 0]);
  });

  it("finds a station at another port once its port is gone, or it has been silent there", () => {
    itsSwitch.receive(a, frame(BROADCAST, A));
    itsSwitch.receive(b, frame(BROADCAST, A));
    expect(itsSwitch.statistics.dropped).toBe(1);
    itsSwitch.detach(a);
    counts();
    itsSwitch.receive(b, frame(BROADCAST, A));
    itsSwitch.receive(c, frame(A, C));
    expect(counts()).toEqual([0, 1, 1]);
    world.advance(1000);
    itsSwitch.receive(c, frame(BROADCAST, A));
    counts();
    itsSwitch.receive(b, frame(A, B));
    expect(counts()).toEqual([0, 0, 1]);
  });

  it("is not moved by a guest that sends back whatever comes, from two cards", () => {
    let sent = 0;
    const back = (bytes: Uint8Array, at: SwitchPort): void => {
      if (++sent < 10_000) itsSwitch.receive(at, bytes);
    };
    const left: SwitchPort = { send: (bytes) => back(bytes, right) };
    const right: SwitchPort = { send: (bytes) => back(bytes, left) };
    for (const end of [left, right]) itsSwitch.attach(end);
    itsSwitch.receive(a, frame(BROADCAST, A));
    expect(sent).toBe(2);
    expect([b.count, c.count]).toEqual([1, 1]);
  });

  it("keeps the next switch's frames, and drops what no station sends", () => {
    const reserved = 0x0180_c200_0000;
    for (let i = 0; i < 16; i++) itsSwitch.receive(a, frame(reserved + i, A));
    itsSwitch.receive(a, frame(BROADCAST, 0x0100_0000_0001));
    for (let length = 0; length < 14; length++) itsSwitch.receive(a, new Uint8Array(length));
    expect(counts()).toEqual([0, 0, 0]);
    itsSwitch.receive(a, frame(reserved + 16, A));
    expect(counts()).toEqual([0, 1, 1]);
  });

  it("bounds stations, those of others staying, and ports", () => {
    itsSwitch.receive(b, frame(BROADCAST, B));
    for (let i = 0; i < 100_000; i++) itsSwitch.receive(a, frame(B, 0x0200_0000_0000 + i));
    expect(itsSwitch.statistics.stations).toBe(257);
    counts();
    itsSwitch.receive(c, frame(B, C));
    expect(counts()).toEqual([0, 1, 0]);
    while (itsSwitch.attach(new Port()));
    expect(itsSwitch.statistics.ports).toBe(MAX_SWITCH_PORTS);
  });

  it("bounds what goes to all, and to one goes on", () => {
    itsSwitch.receive(b, frame(BROADCAST, B));
    counts();
    for (let i = 0; i < 100_000; i++) itsSwitch.receive(a, frame(BROADCAST, A));
    expect(counts()).toEqual([0, 5000, 5000]);
    itsSwitch.receive(a, frame(B, A));
    expect(counts()).toEqual([0, 1, 0]);
    world.advance(100);
    for (let i = 0; i < 100_000; i++) itsSwitch.receive(a, frame(BROADCAST, A));
    expect(counts()).toEqual([0, 1000, 1000]);
    itsSwitch.receive(c, frame(BROADCAST, C));
    expect(counts()).toEqual([1, 1, 0]);
  });
});
