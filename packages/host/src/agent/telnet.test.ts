import { describe, expect, it } from "vitest";
import { encodeTelnet, encodeWindowSize, TelnetDecoder } from "./telnet.ts";

describe("Telnet", () => {
  it("doubles what would be a command, and keeps a carriage return by itself", () => {
    expect([...encodeTelnet(Uint8Array.of(1, 255, 13, 10))]).toEqual([1, 255, 255, 13, 0, 10]);
  });

  it("tells a window's size, columns first", () => {
    expect([...encodeWindowSize(24, 80)]).toEqual([255, 250, 31, 0, 80, 0, 24, 255, 240]);
    expect([...encodeWindowSize(255, 511)]).toEqual([255, 250, 31, 1, 255, 255, 0, 255, 255, 255, 240]);
  });

  it("takes commands, options and subnegotiations out, however the stream is cut", () => {
    const stream = [255, 253, 1, 65, 255, 250, 24, 1, 255, 255, 255, 240, 66, 255, 255, 255, 241, 67, 255, 251, 3];
    const whole = new TelnetDecoder().decode(Uint8Array.from(stream));
    expect([...whole]).toEqual([65, 66, 255, 67]);
    const decoder = new TelnetDecoder();
    expect(stream.flatMap((byte) => [...decoder.decode(Uint8Array.of(byte))])).toEqual([...whole]);
  });
});
