import { existsSync, writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { encodeFrame, FrameDecoder } from "./frame-stream.ts";
import { SocketLink } from "./socket-link.ts";

class End {
  readonly frames: Uint8Array[] = [];
  isUp = false;
  hasRoom = true;
  link!: SocketLink;

  static async open(path: string): Promise<End> {
    const end = new End();
    end.link = await SocketLink.open(path, {
      deliver: (frame) => {
        if (end.hasRoom) end.frames.push(Uint8Array.from(frame));
        return end.hasRoom;
      },
      setUp: (isUp) => {
        end.isUp = isUp;
      },
      ready: () => {},
    });
    ends.push(end);
    return end;
  }
}

const ends: End[] = [];
let folder: string;
let path: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "twinmetal-link-"));
  path = join(folder, "wire");
});
afterEach(async () => {
  for (const { link } of ends.splice(0)) link.close();
  await rm(folder, { recursive: true, force: true });
});

const areJoined = (...both: End[]): Promise<void> =>
  expect.poll(() => both.map(({ isUp }) => isUp)).toEqual([true, true]);

describe("a socket between two cards", () => {
  it("carries frames both ways, whoever comes first", async () => {
    const a = await End.open(path);
    expect(a.isUp).toBe(false);
    const b = await End.open(path);
    await areJoined(a, b);
    a.link.send(new Uint8Array(60).fill(1));
    a.link.send(new Uint8Array(1514).fill(2));
    b.link.send(new Uint8Array(99).fill(3));
    await expect.poll(() => [a.frames.length, b.frames.length]).toEqual([1, 2]);
    expect(b.frames[1]).toEqual(new Uint8Array(1514).fill(2));
  });

  it.each([0, 1])("is joined again when end %i goes and comes", async (index) => {
    const both = [await End.open(path), await End.open(path)];
    await areJoined(...both);
    both[index]!.link.close();
    const stays = both[1 - index]!;
    await expect.poll(() => stays.isUp).toBe(false);
    await areJoined(stays, await End.open(path));
  });

  it("turns a third one away", async () => {
    const [a, b, c] = [await End.open(path), await End.open(path), await End.open(path)];
    await areJoined(a, b);
    await expect.poll(() => c.isUp).toBe(false);
    a.link.send(new Uint8Array(60).fill(1));
    await expect.poll(() => b.frames.length).toBe(1);
  });

  it("takes the place of a socket that nobody listens at, and no other file's", async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    await new Promise<void>((resolve) => {
      const copy = join(folder, "left");
      // A socket's file stays where its process was killed.
      void import("node:fs/promises").then(({ link }) => link(path, copy)).then(() => server.close(() => resolve()));
    });
    await End.open(join(folder, "left"));
    const other = join(folder, "file");
    writeFileSync(other, "precious");
    await expect(
      SocketLink.open(other, { deliver: () => true, setUp: () => {}, ready: () => {} }),
    ).rejects.toMatchObject({
      code: "network-socket",
    });
    expect(existsSync(other)).toBe(true);
    await expect(End.open(join(folder, "missing", "wire"))).rejects.toMatchObject({ code: "network-socket" });
  });

  it("waits with what there is no room for", async () => {
    const [a, b] = [await End.open(path), await End.open(path)];
    await areJoined(a, b);
    b.hasRoom = false;
    for (let i = 0; i < 5; i++) a.link.send(new Uint8Array(100).fill(i));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(b.frames).toEqual([]);
    b.hasRoom = true;
    b.link.resume();
    await expect.poll(() => b.frames.map(([first]) => first)).toEqual([0, 1, 2, 3, 4]);
  });

  it("hangs up on who speaks another protocol", async () => {
    const a = await End.open(path);
    const socket = connect(path);
    const closed = new Promise((resolve) => socket.on("close", resolve));
    socket.write("GET / HTTP/1.1\r\n\r\n");
    await closed;
    await expect.poll(() => a.isUp).toBe(false);
  });
});

describe("frames in a stream", () => {
  it("are found wherever it is cut", () => {
    const frames = [60, 1, 1514, 65_536, 7].map((length, i) => new Uint8Array(length).fill(i + 1));
    const stream = Buffer.concat(frames.map(encodeFrame));
    for (const size of [1, 3, 1000, 70_000, stream.length]) {
      const decoder = new FrameDecoder();
      const found: Uint8Array[] = [];
      for (let at = 0; at < stream.length; at += size) {
        decoder.feed(stream.subarray(at, at + size));
        for (let frame = decoder.next(); frame; frame = decoder.next()) found.push(frame.slice());
      }
      expect(found.map(({ length }) => length)).toEqual(frames.map(({ length }) => length));
      expect(Buffer.compare(Buffer.concat(found), Buffer.concat(frames))).toBe(0);
    }
  });

  it.each([0, 65_537, 0xffff_ffff])("have no length of %i", (length) => {
    const decoder = new FrameDecoder();
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32BE(length);
    decoder.feed(bytes);
    expect(() => decoder.next()).toThrow(/another protocol/);
  });
});
