import { describe, expect, it } from "vitest";
import { assembleBpf, BpfError, type BpfStep } from "./bpf.ts";
import { runBpf } from "./bpf-interpreter.ts";

const data = (...words: number[]): DataView => {
  const view = new DataView(new ArrayBuffer(4 * words.length));
  words.forEach((word, index) => {
    view.setUint32(4 * index, word, true);
  });
  return view;
};

describe("assembleBpf", () => {
  it("lays instructions out as the kernel's struct sock_filter", () => {
    const bytes = assembleBpf([
      { kind: "load", offset: 4 },
      { kind: "test", test: "equal", value: 0xc000003e, no: "bad" },
      { kind: "answer", value: 0x7fff0000 },
      { kind: "label", name: "bad" },
      { kind: "answer", value: 0 },
    ]);
    expect(Buffer.from(bytes).toString("hex")).toBe(
      ["2000000004000000", "150000013e0000c0", "060000000000ff7f", "0600000000000000"].join(""),
    );
  });

  it.each([
    ["equal", 5, [5], [4, 6]],
    ["greater", 5, [6, 0xffffffff], [5, 0]],
    ["at-least", 5, [5, 0xffffffff], [4]],
    ["any-bit", 0x80000001, [1, 0x80000000, 0xffffffff], [0, 2]],
  ] as const)("tests %s %i", (test, value, yes, no) => {
    const program = assembleBpf([
      { kind: "load", offset: 0 },
      { kind: "test", test, value, yes: "yes" },
      { kind: "answer", value: 0 },
      { kind: "label", name: "yes" },
      { kind: "answer", value: 1 },
    ]);
    for (const word of yes) expect(runBpf(program, data(word))).toBe(1);
    for (const word of no) expect(runBpf(program, data(word))).toBe(0);
  });

  it("masks, and goes far", () => {
    const filler: BpfStep[] = Array.from({ length: 300 }, () => ({ kind: "answer", value: 9 }));
    const program = assembleBpf([
      { kind: "load", offset: 4 },
      { kind: "and", mask: 0xff00 },
      { kind: "test", test: "equal", value: 0x1200, no: "far" },
      { kind: "answer", value: 1 },
      { kind: "label", name: "far" },
      { kind: "go", to: "end" },
      ...filler,
      { kind: "label", name: "end" },
      { kind: "answer", value: 2 },
    ]);
    expect(runBpf(program, data(0, 0xab1234))).toBe(1);
    expect(runBpf(program, data(0, 0xab2234))).toBe(2);
  });

  it("refuses what the kernel would", () => {
    const end: BpfStep = { kind: "answer", value: 0 };
    const filler: BpfStep[] = Array.from({ length: 256 }, () => end);
    const label = (name: string): BpfStep => ({ kind: "label", name });
    const test: BpfStep = { kind: "test", test: "equal", value: 0, yes: "a" };
    expect(() => assembleBpf([])).toThrow(BpfError);
    expect(() => assembleBpf([test, end])).toThrow("no label a");
    expect(() => assembleBpf([label("a"), test, end])).toThrow("no loops");
    expect(() => assembleBpf([label("a"), label("a"), end])).toThrow("twice");
    expect(() => assembleBpf([test, ...filler, label("a"), end])).toThrow("256 instructions away");
    expect(() => assembleBpf([...filler, test, label("a")])).toThrow("no answer");
    expect(() => assembleBpf(Array.from({ length: 4097 }, () => end))).toThrow(BpfError);
  });
});
