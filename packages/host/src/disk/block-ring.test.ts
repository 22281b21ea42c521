import { BLOCK_LIMITS } from "@twinmetal/core";
import { describe, expect, it } from "vitest";
import { abandonRing, createDiskRing, RingBlocks, RingServer } from "./block-ring.ts";

const read = (id: number, offset = 0, length = 512) => ({ id, operation: "read", offset, length }) as const;

function setUp(channels = ["disk0", "disk1"]) {
  const ring = createDiskRing(channels);
  return { ring, machine: new RingBlocks(ring), server: new RingServer(ring) };
}

describe("a ring of disks", () => {
  it("carries requests there and completions back, with their bytes", () => {
    const { machine, server } = setUp();
    machine.writeBuffer("disk1", 1024).fill(7);
    machine.submit("disk1", { id: 0xffff_fffe, operation: "write", offset: 2 ** 45 + 512, length: 1024 });
    machine.submit("disk0", read(3, 4096));
    const [first, second] = server.take();
    expect(first).toMatchObject({ disk: 0, operation: "read", offset: 4096, length: 512 });
    expect(second).toMatchObject({ disk: 1, operation: "write", offset: 2 ** 45 + 512 });
    expect(second!.bytes).toEqual(new Uint8Array(1024).fill(7));
    expect(machine.take()).toBeUndefined();
    first!.bytes.fill(9);
    server.done(second!, false);
    server.done(first!, true);
    expect(machine.take()).toMatchObject({ channel: "disk0", id: 3, isOk: true, bytes: new Uint8Array(512).fill(9) });
    expect(machine.take()).toMatchObject({ channel: "disk1", id: 0xffff_fffe, isOk: false, bytes: new Uint8Array(0) });
    expect(machine.take()).toBeUndefined();
    expect(server.take()).toEqual([]);
  });

  it("has room for all that may be under way, while the last completion is still held", () => {
    const { machine, server } = setUp(["disk0"]);
    for (let id = 0; id < BLOCK_LIMITS.requests; id++) machine.submit("disk0", read(id));
    for (const request of server.take()) server.done(request, true);
    for (let id = 0; id < 1000; id++) {
      expect(machine.take()).toBeDefined();
      machine.submit("disk0", read(BLOCK_LIMITS.requests + id));
      for (const request of server.take()) server.done(request, true);
    }
  });

  it("does not carry out twice what another machine of the VM submits again", () => {
    const { ring, machine, server } = setUp();
    for (const id of [1, 2]) machine.submit("disk0", read(id));
    const [first] = server.take();
    server.done(first!, true);
    const next = new RingBlocks(ring);
    for (const id of [1, 2]) next.submit("disk0", read(id));
    expect(server.take()).toEqual([]);
    expect(next.take()).toMatchObject({ id: 1 });
    expect(next.take()).toBeUndefined();
  });

  it("fails what a thread that has ended had, so that nobody waits for it", () => {
    const { ring, machine, server } = setUp(["disk0"]);
    machine.submit("disk0", { ...read(1), spans: [0, 512] });
    server.setOpen(true);
    server.take();
    machine.submit("disk0", read(2));
    abandonRing(ring);
    machine.settle();
    expect([machine.take(), machine.take()]).toMatchObject([
      { id: 1, isOk: false },
      { id: 2, isOk: false },
    ]);
    expect(machine.take()).toBeUndefined();
  });

  it("wakes who waits for work", async () => {
    const { machine, server } = setUp();
    const { work } = server;
    expect(server.waitForWork(work, 1)).toBe(false);
    const woken = server.untilWork(work);
    machine.submit("disk0", read(1));
    await woken;
    expect(server.take()).toHaveLength(1);
    expect(server.waitForWork(work, 1)).toBe(true);
    // Now that work came soon, it looks on for a moment.
    expect(server.waitForWork(work, 1)).toBe(true);
    expect(server.waitForWork(server.work, 1)).toBe(false);
  });

  describe("that reaches the machine's memory", () => {
    const bytes = new Uint8Array(new SharedArrayBuffer(8192));
    const spans = [4096, 256, 512, 256];

    function reaching() {
      const { ring, server } = setUp();
      bytes.fill(0);
      const machine = new RingBlocks(ring, bytes);
      expect(machine.reachesMemory).toBe(false);
      server.reach(machine.memory!);
      server.setOpen(true);
      expect(machine.reachesMemory).toBe(true);
      machine.submit("disk0", { ...read(1), spans });
      return { ring, server, machine };
    }

    it("gives the places to the disks' end, which fills them", () => {
      const { server, machine } = reaching();
      const [request] = server.take();
      expect(request!.parts!.map(({ byteOffset, length }) => [byteOffset, length])).toEqual([
        [4096, 256],
        [512, 256],
      ]);
      for (const [i, part] of request!.parts!.entries()) part.fill(i + 1);
      server.done(request!, true);
      expect(machine.take()).toMatchObject({ id: 1, isOk: true, isInMemory: true, bytes: new Uint8Array(0) });
      expect([bytes[4096], bytes[767]]).toEqual([1, 2]);
    });

    it("tells a recording what was read", () => {
      const { server, machine } = reaching();
      const [request] = server.take();
      for (const [i, part] of request!.parts!.entries()) part.fill(i + 1);
      server.done(request!, true);
      const done = machine.take(true)!;
      expect([done.isInMemory, done.bytes.length, done.bytes[0], done.bytes[511]]).toEqual([undefined, 512, 1, 2]);
    });

    it("fails what has not begun when it is withdrawn, and does not begin it", () => {
      const { server, machine } = reaching();
      machine.withdraw("disk0");
      expect(server.take()).toEqual([]);
      expect(machine.take()).toMatchObject({ id: 1, isOk: false, isInMemory: true });
    });

    it("does not wait for what waits for space, nor while the images are closed", () => {
      const { server, machine } = reaching();
      const [request] = server.take();
      server.park(request!);
      machine.settle();
      machine.submit("disk0", { ...read(2), spans });
      server.setOpen(false);
      machine.settle();
      server.done(request!, true);
      expect(machine.take()).toMatchObject({ id: 1, isOk: true });
    });

    it("knows nothing of places in another memory, or behind its end", () => {
      const { ring, server, machine } = reaching();
      machine.submit("disk0", { ...read(2), spans: [8000, 512] });
      expect(server.take()[1]!.parts).toEqual([]);
      const next = new RingBlocks(ring, new Uint8Array(new SharedArrayBuffer(8192)));
      next.submit("disk0", { ...read(3), spans });
      expect(server.take()[0]!.parts).toEqual([]);
    });
  });
});
