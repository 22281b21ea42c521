import { describe, expect, it } from "vitest";
import type { StateValue } from "../devices/device.ts";
import { encodeState } from "../state/codec.ts";
import { crc32c } from "../state/crc32c.ts";
import { MigrationError } from "./errors.ts";
import { FAKE_COMPRESSOR, FakeTime, Wire } from "./fake-world.ts";
import { encodeFrame, encodePreamble, FRAME, FramedLink, MAX_PAYLOAD_BYTES } from "./frames.ts";
import { decodeAnswer, decodeFailure, decodeHello, encodeAnswer, encodeFailure } from "./messages.ts";
import { decodePages, encodePages, MAX_PAGES, PAGE_BYTES, ZERO_PAGE_CRC } from "./page-batch.ts";

const time = new FakeTime(() => new Promise((resolve) => void setImmediate(resolve)));

async function failure(promise: Promise<unknown>): Promise<string> {
  const [result] = await time.settle(promise);
  if (result.status === "fulfilled") return "nothing";
  if (!(result.reason instanceof MigrationError)) throw result.reason;
  return result.reason.code;
}

/** What a link that gets these bytes makes of them. */
function reading(
  bytes: Uint8Array,
  types: readonly (typeof FRAME)[keyof typeof FRAME][] = [FRAME.READY],
): Promise<unknown> {
  const wire = new Wire();
  void wire.source.send(bytes).then(() => wire.source.close());
  return new FramedLink(wire.target, time).receive(types, 1000);
}

describe("frames", () => {
  it("arrive as they were sent, in pieces of any size", async () => {
    const wire = new Wire();
    const link = new FramedLink(wire.target, time);
    const payload = Uint8Array.from({ length: 1000 }, (_, i) => i);
    const bytes = encodeFrame(FRAME.RELEASE, payload);
    for (let at = 0; at < bytes.length; at += 7) void wire.source.send(bytes.subarray(at, at + 7));
    expect(await link.receive([FRAME.RELEASE], 1000)).toEqual({ type: FRAME.RELEASE, payload });
  });

  it("are refused when damaged, of another type, or too long, before their bytes are kept", async () => {
    const good = encodeFrame(FRAME.READY, Uint8Array.of(1, 2, 3));
    expect(await failure(reading(good))).toBe("nothing");
    for (let bit = 0; bit < good.length * 8; bit++) {
      const bad = good.slice();
      bad[bit >> 3]! ^= 1 << (bit & 7);
      expect(["corrupt", "bad-peer", "link-lost"]).toContain(await failure(reading(bad)));
    }
    expect(await failure(reading(encodeFrame(FRAME.RUNNING, new Uint8Array(0))))).toBe("bad-peer");
    const long = encodeFrame(FRAME.READY, new Uint8Array(0));
    new DataView(long.buffer).setUint32(0, MAX_PAYLOAD_BYTES[FRAME.READY] + 1, true);
    expect(await failure(reading(long))).toBe("bad-peer");
    expect(await failure(reading(new Uint8Array(0)))).toBe("link-lost");
  });

  it("of another version and of other programs are told apart", async () => {
    const greet = (bytes: Uint8Array): Promise<unknown> => {
      const wire = new Wire();
      void wire.source.send(bytes);
      return new FramedLink(wire.target, time).receivePreamble(1000);
    };
    expect(await failure(greet(encodePreamble()))).toBe("nothing");
    const newer = encodePreamble();
    newer[7] = 9;
    expect(await failure(greet(newer))).toBe("version");
    expect(await failure(greet(new TextEncoder().encode("GET / HTTP/1.1\r\n")))).toBe("bad-peer");
    expect(await failure(greet(Uint8Array.of(0x54)))).toBe("stalled");
  });
});

describe("messages", () => {
  it("with missing, foreign and wrong fields are refused", () => {
    const obstacles = [{ code: "memory" as const, message: "none left" }];
    const answer = { version: "1", engine: "jit", obstacles };
    expect(decodeAnswer(encodeAnswer(answer))).toEqual(answer);
    const bad: readonly StateValue[] = [
      {},
      { version: 1, engine: "jit", obstacles: [] },
      { version: "1", engine: "jit", obstacles: [], more: 1 },
    ];
    for (const record of bad) expect(() => decodeAnswer(encodeState(record))).toThrow(MigrationError);
    expect(() => decodeHello(encodeState({ id: new Uint8Array(16) }))).toThrow(/hello/);
    expect(() => decodeHello(Uint8Array.of(0xff, 0, 1))).toThrow(MigrationError);
  });

  it("of a peer are shown without control characters", () => {
    const { message } = decodeFailure(encodeFailure({ code: "x", message: "a\u001b[31mb\nc" }), false);
    expect(message).toBe("The other side has given up: a [31mb c");
  });
});

describe("pages", () => {
  const bytes = new Uint8Array(2 * PAGE_BYTES).fill(5, 100);
  const entries = [7, 3].map((page, i) => ({
    page,
    crc: crc32c(bytes.subarray(i * PAGE_BYTES, (i + 1) * PAGE_BYTES)),
  }));

  it("arrive raw, deflated, and as zeros", async () => {
    for (const compressor of [undefined, FAKE_COMPRESSOR]) {
      const { payload } = await encodePages({ entries, bytes }, compressor);
      expect(payload.length < PAGE_BYTES).toBe(compressor !== undefined);
      expect(await decodePages(payload, 8, FAKE_COMPRESSOR)).toEqual({ entries, bytes });
    }
    const zeros = { entries: [{ page: 1, crc: ZERO_PAGE_CRC }], bytes: undefined };
    expect(await decodePages((await encodePages(zeros, undefined)).payload, 8, FAKE_COMPRESSOR)).toEqual(zeros);
  });

  it("outside RAM, too many, too short or damaged ones are refused", async () => {
    const { payload } = await encodePages({ entries, bytes }, undefined);
    const code = (change: (view: DataView) => void, ramPages = 8): Promise<string> => {
      const bad = payload.slice();
      change(new DataView(bad.buffer));
      return failure(decodePages(bad, ramPages, FAKE_COMPRESSOR));
    };
    expect(await code(() => {}, 7)).toBe("bad-peer");
    expect(await code((view) => view.setUint16(2, MAX_PAGES + 1, true))).toBe("bad-peer");
    expect(await code((view) => view.setUint16(2, 3, true))).toBe("bad-peer");
    expect(await code((view) => view.setUint16(2, 0, true))).toBe("bad-peer");
    expect(await code((view) => view.setUint8(0, 3))).toBe("bad-peer");
    expect(await code((view) => view.setUint8(0, 1))).toBe("corrupt");
    expect(await code((view) => view.setUint8(0, 2))).toBe("bad-peer");
    expect(await code((view) => view.setUint8(5000, 1))).toBe("corrupt");
    expect(await failure(decodePages(new Uint8Array(3), 8, FAKE_COMPRESSOR))).toBe("bad-peer");
  });
});
