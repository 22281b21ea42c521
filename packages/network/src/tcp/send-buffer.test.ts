import { describe, expect, it } from "vitest";
import { FakeWorld } from "../fake-world.ts";
import { SendBuffer } from "./send-buffer.ts";

describe("bytes to be sent", () => {
  it("are given back as they came, whatever the chunks and however it is taken", () => {
    for (let seed = 1; seed <= 20; seed++) {
      const world = new FakeWorld(seed);
      const buffer = new SendBuffer();
      let [all, dropped] = [[] as number[], 0];
      for (let i = 0; i < 400; i++) {
        const bytes = Uint8Array.from(
          { length: Math.floor(world.random() ** 4 * 3000) },
          () => world.randomU32() >>> 24,
        );
        buffer.push(bytes);
        all = [...all, ...bytes];
        const into = new Uint8Array(Math.floor(world.random() * buffer.length));
        const offset = Math.floor(world.random() * (buffer.length - into.length));
        buffer.copy(offset, into);
        expect(Buffer.compare(into, Uint8Array.from(all.slice(offset, offset + into.length)))).toBe(0);
        const count = world.random() < 0.2 ? buffer.length : Math.floor((world.random() * buffer.length) / 3);
        buffer.drop(count);
        all = all.slice(count);
        dropped += count;
        expect(buffer.length).toBe(all.length);
      }
      expect(dropped).toBeGreaterThan(0);
    }
  });

  it("that are single bytes take no step each whenever something is sent", () => {
    const buffer = new SendBuffer();
    for (let i = 0; i < 200_000; i++) buffer.push(Uint8Array.of(i));
    const into = new Uint8Array(1);
    // 10^10 of them.
    for (let i = 0; i < 50_000; i++) buffer.copy(199_999 - i, into);
    expect(into[0]).toBe((199_999 - 49_999) & 0xff);
  });
});
