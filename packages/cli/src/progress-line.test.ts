import { PassThrough } from "node:stream";
import { describe, expect, it, vi } from "vitest";
import type { Io } from "./command.ts";
import { ProgressLine } from "./progress-line.ts";

function setUp(terminal?: { columns: number }) {
  let nowMs = 0;
  let text = "";
  const stderr = Object.assign(new PassThrough(), terminal ? { isTTY: true, ...terminal } : {});
  stderr.on("data", (data: Buffer) => (text += data.toString()));
  const line = new ProgressLine({ stderr: stderr as unknown as Io["stderr"] }, () => nowMs);
  const written = (): string => {
    const all = text;
    text = "";
    return all;
  };
  return { line, written, at: (ms: number) => (nowMs = ms) };
}

describe("progress", () => {
  it("is one plain line for each phase where nobody sees it move", () => {
    const { line, written } = setUp();
    for (const done of [0, 5, 10]) line.report({ phase: "download", done, total: 10 });
    line.report({ phase: "something new", done: 0, total: undefined });
    line.clear();
    expect(written()).toBe("twinmetal: first use: downloading Debian packages\ntwinmetal: something new\n");
  });

  it("is a line that rewrites itself on a terminal, and goes without a trace", () => {
    const { line, written, at } = setUp({ columns: 200 });
    line.report({ phase: "save", done: 0, total: 2 ** 20 });
    expect(written()).toBe("");
    at(600);
    line.report({ phase: "save", done: 2 ** 19, total: 2 ** 20 });
    expect(written()).toBe("\rtwinmetal: saving [############............]  50 % of 1 MiB\x1b[K");
    at(610);
    line.report({ phase: "save", done: 2 ** 20, total: 2 ** 20 });
    expect(written()).toBe("");
    line.clear();
    expect(written()).toBe("\r\x1b[K");
    line.clear();
    expect(written()).toBe("");
  });

  it("never wraps", () => {
    const { line, written, at } = setUp({ columns: 30 });
    line.report({ phase: "download", done: 0, total: 100 });
    at(1000);
    line.report({ phase: "download", done: 50, total: 100 });
    expect(written().replace("\r", "").replace("\x1b[K", "")).toHaveLength(29);
  });

  it("counts seconds where the end is not known, until something comes", () => {
    vi.useFakeTimers();
    try {
      const { line, written, at } = setUp({ columns: 80 });
      line.waitFor("the guest is starting");
      at(1000);
      vi.advanceTimersByTime(1000);
      expect(written()).toBe("\rtwinmetal: the guest is starting: 1 s\x1b[K");
      line.clear();
      written();
      vi.advanceTimersByTime(5000);
      expect(written()).toBe("");
    } finally {
      vi.useRealTimers();
    }
  });
});
