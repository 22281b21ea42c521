import { beforeEach, describe, expect, it } from "vitest";
import { parseIpAddress } from "./address.ts";
import { FakeWorld } from "./fake-world.ts";
import { TFTP_ERROR, TftpError, TftpServer } from "./tftp.ts";

const CLIENT = { address: parseIpAddress("10.0.2.15")!, port: 2000 };
const FILES: Record<string, Uint8Array> = {
  small: Uint8Array.from({ length: 700 }, (_, i) => i),
  whole: new Uint8Array(1024).fill(1),
  empty: new Uint8Array(0),
  large: new Uint8Array(600_000).fill(9),
};

const text = (bytes: Uint8Array): string => new TextDecoder().decode(bytes).replaceAll("\0", "|");
const settled = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await Promise.resolve();
};

let world: FakeWorld;
let server: TftpServer;
let sent: { readonly from: number; readonly data: Uint8Array }[];
let open: number;
let isBroken: boolean;

beforeEach(() => {
  world = new FakeWorld();
  [sent, open, isBroken] = [[], 0, false];
  server = new TftpServer({
    world,
    largestBlockBytes: 1448,
    send: (from, _to, data) => void sent.push({ from, data: data.slice() }),
    files: {
      open: async (name) => {
        const bytes = FILES[name];
        if (!bytes) throw new TftpError(TFTP_ERROR.NO_FILE, "there is no such file");
        open++;
        return {
          sizeBytes: bytes.length,
          read: async (offset, length) => {
            if (isBroken) throw new Error("the host's disk");
            return bytes.subarray(offset, offset + length);
          },
          close: () => void open--,
        };
      },
    },
  });
});

async function ask(opcode: number, words: string, port = CLIENT.port): Promise<Uint8Array | undefined> {
  const bytes = new TextEncoder().encode(words.replaceAll("|", "\0"));
  server.receive({ ...CLIENT, port }, 69, new Uint8Array([0, opcode, ...bytes]));
  await settled();
  return sent.at(-1)?.data;
}

async function acknowledge(block: number): Promise<Uint8Array | undefined> {
  const before = sent.length;
  server.receive(CLIENT, sent.at(-1)!.from, new Uint8Array([0, 4, block >> 8, block & 255]));
  await settled();
  return sent.length > before ? sent.at(-1)!.data : undefined;
}

/** All blocks of a file, from the first answer on. */
async function fetch(first: Uint8Array, blockBytes: number): Promise<number> {
  let bytes = 0;
  for (let data: Uint8Array | undefined = first; data; ) {
    if (data[1] !== 3) throw new Error(text(data));
    bytes += data.length - 4;
    const answer: Uint8Array | undefined = await acknowledge((data[2]! << 8) | data[3]!);
    if (data.length - 4 < blockBytes !== (answer === undefined)) throw new Error("the end is not where it should be");
    data = answer;
  }
  return bytes;
}

describe("TFTP", () => {
  it.each([
    ["small", 700],
    ["whole", 1024],
    ["empty", 0],
  ])("sends %s in blocks of 512, the last one shorter", async (name, bytes) => {
    const first = await ask(1, `${name}|octet|`);
    expect([...first!.subarray(0, 4)]).toEqual([0, 3, 0, 1]);
    expect(await fetch(first!, 512)).toBe(bytes);
    expect([server.transfers, open, world.timers]).toEqual([0, 0, 0]);
  });

  it("agrees to options, and to blocks no larger than the network's", async () => {
    const answer = await ask(1, "small|OCTET|TSIZE|0|blksize|1432|timeout|3|windowsize|16|");
    expect(text(answer!)).toBe("|\x06tsize|700|blksize|1432|timeout|3|");
    const data = await acknowledge(0);
    expect([data!.length, data![3]]).toEqual([704, 1]);
    await acknowledge(1);
    expect(text((await ask(1, "small|octet|blksize|65464|"))!)).toContain("blksize|1448|");
    expect((await ask(1, "small|octet|blksize|7|"))![1]).toBe(3);
    expect((await ask(1, "small|octet|blksize|x|timeout|0|"))![1]).toBe(3);
  });

  it("counts blocks on from 0 after 65535", async () => {
    await ask(1, "large|octet|blksize|8|");
    expect(await fetch((await acknowledge(0))!, 8)).toBe(600_000);
  });

  it("sends again what is not acknowledged, and not what was acknowledged twice", async () => {
    const first = await ask(1, "small|octet|");
    world.advance(1000);
    expect(sent.map(({ data }) => data)).toEqual([first, first]);
    expect((await acknowledge(1))![3]).toBe(2);
    expect(await acknowledge(1)).toBeUndefined();
    expect(await acknowledge(7)).toBeUndefined();
    const before = sent.length;
    world.advance(60_000);
    expect(sent.length - before).toBe(5);
    expect([server.transfers, open, world.timers]).toEqual([0, 0, 0]);
  });

  it("refuses writing, other modes and what is not there, and says so", async () => {
    expect(text((await ask(2, "small|octet|"))!)).toBe("|\x05|\x02files are read only|");
    expect(text((await ask(1, "small|netascii|"))!)).toContain("octet is the only mode");
    expect(text((await ask(1, "none|octet|"))!)).toBe("|\x05|\x01there is no such file|");
    isBroken = true;
    expect(text((await ask(1, "small|octet|"))!)).toContain("cannot be read");
    expect([server.transfers, open]).toEqual([0, 0]);
  });

  it("passes over what is no request, and ends with the client", async () => {
    for (const words of ["", "small", "small|", "small|octet", "|octet|", "small|octet|blksize|", "x".repeat(600)]) {
      expect(await ask(1, words), words).toBeUndefined();
    }
    expect(await ask(9, "small|octet|")).toBeUndefined();
    await ask(1, "small|octet|");
    const { from } = sent.at(-1)!;
    expect(server.receive({ ...CLIENT, port: 9 }, from, new Uint8Array([0, 4, 0, 1]))).toBe(false);
    expect(server.receive(CLIENT, from + 1, new Uint8Array([0, 4, 0, 1]))).toBe(false);
    server.receive(CLIENT, from, new Uint8Array(1));
    expect(server.transfers).toBe(1);
    server.receive(CLIENT, from, new Uint8Array([0, 5, 0, 0, 0]));
    expect([server.transfers, open]).toEqual([0, 0]);
  });

  it("has so many transfers, one of each client", async () => {
    for (let i = 0; i < 10; i++) await ask(1, "small|octet|");
    expect([server.transfers, open]).toEqual([1, 1]);
    for (let i = 0; i < 1000; i++) await ask(1, "small|octet|", 3000 + i);
    expect(text(sent.at(-1)!.data)).toContain("too many");
    expect([server.transfers, open]).toEqual([32, 32]);
    server.close();
    expect([server.transfers, open, world.timers]).toEqual([0, 0, 0]);
  });
});
