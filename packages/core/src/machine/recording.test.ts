import { expect, test } from "vitest";
import { decodeHeader, encodeHeader } from "./event-format.ts";
import { checkRecording, recordedSpec, recordingHeader } from "./recording.ts";
import { machineSpec } from "./spec.ts";

const MIB = 2 ** 20;
const file = (byte: string) => ({ sha256: byte.repeat(32), sizeBytes: 1000 });
const spec = machineSpec({
  memoryBytes: 64 * MIB,
  seed: "0a",
  boot: { kernel: file("ab"), initrd: file("cd"), commandLine: "quiet" },
});
const STATE = new Uint8Array(32).fill(1);

test("a header names the machine and its files, and survives its bytes", () => {
  const header = decodeHeader(encodeHeader(recordingHeader(spec, STATE)));
  expect(header).toEqual(recordingHeader(spec, STATE));
  expect(recordedSpec(header)).toEqual(spec);
  expect(() => checkRecording(header, spec, STATE)).not.toThrow();
});

test("what does not fit is named", () => {
  const header = recordingHeader(spec, null);
  const other = (change: Partial<typeof spec>) => () => checkRecording(header, { ...spec, ...change }, null);
  expect(other({ seed: "0b" })).toThrow(/its seed differs/);
  expect(other({ boot: { ...spec.boot!, kernel: file("ef") } })).toThrow(/kernel with SHA-256 abab/);
  expect(other({ boot: { kernel: file("ab"), commandLine: "quiet" } })).toThrow(/initrd with SHA-256 cdcd/);
  expect(() => checkRecording(header, spec, STATE)).toThrow(/starts with power-on/);
  expect(() => checkRecording(recordingHeader(spec, STATE), spec, new Uint8Array(32))).toThrow(/another saved state/);
  expect(() => recordedSpec({ ...header, spec: { memoryBytes: 5 } })).toThrow(/cannot build/);
});
