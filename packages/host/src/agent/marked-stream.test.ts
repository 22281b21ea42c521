import { describe, expect, it } from "vitest";
import { MarkedStream } from "./marked-stream.ts";

const MARK = "0123456789abcdef0123456789abcdef\n";

function read(input: Uint8Array, chunkSize: number): { data: string; hasEnded: boolean } {
  let data = "";
  let ends = 0;
  const stream = new MarkedStream(
    MARK,
    (bytes) => {
      expect(ends).toBe(0);
      data += Buffer.from(bytes).toString("latin1");
    },
    () => ends++,
  );
  for (let offset = 0; offset < input.length; offset += chunkSize)
    stream.write(input.subarray(offset, offset + chunkSize));
  expect(ends).toBeLessThanOrEqual(1);
  return { data, hasEnded: stream.hasEnded };
}

describe("MarkedStream", () => {
  const body = `\0\xff${MARK.slice(0, 32)}x${MARK.slice(0, 5)}${MARK.slice(0, 20)}\n`;

  it.each([1, 2, 3, 7, 32, 33, 34, 1000])("finds exactly what is between the marks, in chunks of %i", (size) => {
    const input = Buffer.from(`late output of another${MARK}${body}${MARK}later output${MARK}`, "latin1");
    expect(read(input, size)).toEqual({ data: body, hasEnded: true });
  });

  it("ends an empty stream", () => {
    expect(read(Buffer.from(MARK + MARK), 5)).toEqual({ data: "", hasEnded: true });
  });

  it("passes on at once what cannot be a mark", () => {
    const seen: string[] = [];
    const stream = new MarkedStream(
      MARK,
      (bytes) => seen.push(Buffer.from(bytes).toString()),
      () => {},
    );
    stream.write(Buffer.from(`${MARK}prompt> `));
    expect(seen).toEqual(["prompt> "]);
    stream.write(Buffer.from("0123"));
    stream.write(Buffer.from("z"));
    expect(seen).toEqual(["prompt> ", "0123z"]);
  });
});
