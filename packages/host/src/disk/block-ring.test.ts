import { BLOCK_LIMITS } from "@twinmetal/core";
import { describe, expect, it } from "vitest";
import { createDiskRing, RingBlocks, RingServer } from "./block-ring.ts";

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
});
