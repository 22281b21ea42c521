import { describe, expect, it } from "vitest";
import { readEvents } from "./protocol.mjs";

/** One event a second of wall time, half of it CPU time. */
const events = (...lines) => lines.map((text, index) => ({ wall: index, cpu: index / 2, text }));

describe("readEvents", () => {
  it("times a kernel by the host's clock, for one operation", () => {
    const { sections, facts } = readEvents(
      events("@@S fib 0a", "@@B fib", "@@E fib 4 900 800", "@@B fib", "@@E fib 2 900 800", "@@S fib 0a"),
    );
    expect(sections.get("fib")).toEqual({ wall: [0.25, 0.5], cpu: [0.125, 0.25] });
    expect([...facts.get("fib")]).toEqual(["checksum=0a"]);
  });

  it("ends a program's time before its output is hashed", () => {
    const { sections, facts } = readEvents(events("@@B xz2", "@@T xz2", "@@E xz2 1 5 5 rc=0 out=ab"));
    expect(sections.get("xz2").wall).toEqual([1]);
    expect([...facts.get("xz2")]).toEqual(["rc=0", "out=ab"]);
  });

  it("takes the guest's own figures of a native run", () => {
    const { sections } = readEvents(events("@@B fib", "@@E fib 10 1000 500"), "guest");
    expect(sections.get("fib")).toEqual({ wall: [1e-7], cpu: [5e-8] });
  });

  it("tells another build's kernels apart", () => {
    const { sections, facts } = readEvents(
      events("@@B matmul", "@@E matmul 1 1 1", "@@SET sse", "@@S matmul 0b", "@@B matmul", "@@E matmul 1 1 1"),
    );
    expect([...sections.keys()]).toEqual(["matmul", "matmul_sse"]);
    expect([...facts.get("matmul_sse")]).toEqual(["checksum=0b"]);
  });

  it("finds boot and end", () => {
    const run = readEvents(events("@@SOMETHING", "@@BOOTED 1.9 0.0", "@@RC mbench 0", "@@ALLDONE", "@@BOOTED 9 9"));
    expect(run.boot).toEqual({ wall: 1, cpu: 0.5 });
    expect(run.done).toBe(true);
    expect([...run.facts.get("exit of mbench")]).toEqual(["rc=0"]);
    expect(readEvents(events("@@BOOTED 1 0")).done).toBe(false);
  });

  it.each([
    ["a section without an end", ["@@B fib"], "did not end"],
    ["a section that another one interrupts", ["@@B fib", "@@B dhry", "@@E dhry 1 1 1"], "did not end"],
    ["an end without a beginning", ["@@E fib 1 1 1"], "cannot be read: @@E fib 1 1 1"],
    ["garbled numbers", ["@@B fib", "@@E fib x 1 1"], "cannot be read: @@E fib x 1 1"],
    ["no operations", ["@@B fib", "@@E fib 0 1 1"], "cannot be read: @@E fib 0 1 1"],
  ])("makes %s a fact that no other side shares", (_, lines, fact) => {
    const { sections, facts } = readEvents(events(...lines));
    expect(sections.has("fib")).toBe(false);
    expect([...facts.get("fib")]).toEqual([fact]);
  });
});
