import { expect, it } from "vitest";
import { pcapHeader, pcapRecord } from "./pcap.ts";

it("a capture has the format's header, and each frame its time and length", () => {
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  expect(hex(pcapHeader())).toBe("4d3cb2a1020004000000000000000000" + "0000010001000000");
  expect(hex(pcapRecord(1_700_000_000_123.5, Uint8Array.of(1, 2, 3)))).toBe(
    "00f15365" + "e0755c07" + "03000000" + "03000000" + "010203",
  );
  expect(pcapRecord(0, new Uint8Array(70_000)).length).toBe(16 + 65_536);
});
