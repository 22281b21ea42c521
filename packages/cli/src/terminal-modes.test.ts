import { describe, expect, it } from "vitest";
import { LineFeeds } from "./line-feeds.ts";
import { TerminalModes } from "./terminal-modes.ts";

const bytes = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "latin1"));

describe("modes that a guest leaves behind", () => {
  it("are undone, whatever the pieces they came in", () => {
    const modes = new TerminalModes();
    for (const part of ["a\x1b[?10", "49h\x1b", "[?25l\x1b[?1000;1006h"]) modes.observe(bytes(part));
    expect(modes.restoring()).toBe("\x1b[?1049l\x1b[?25h\x1b[?1000l\x1b[?1006l");
    expect(modes.restoring()).toBe("");
  });

  it("need nothing when the guest has undone them", () => {
    const modes = new TerminalModes();
    modes.observe(bytes("\x1b[?1049h\x1b[?25l ... \x1b[?25h\x1b[?1049l"));
    expect(modes.restoring()).toBe("");
  });

  it("are bounded, however much a guest invents", () => {
    const modes = new TerminalModes();
    for (let mode = 100; mode < 5000; mode++) modes.observe(bytes(`\x1b[?${mode}h`));
    modes.observe(bytes(`\x1b[?${"1;".repeat(1000)}`));
    expect(modes.restoring().length).toBeLessThan(1000);
  });
});

describe("line feeds", () => {
  const translate = (...parts: string[]): string => {
    const feeds = new LineFeeds();
    return parts.map((part) => Buffer.from(feeds.translate(bytes(part))).toString("latin1")).join("");
  };

  it("stay where they end a line", () => expect(translate("a\r\nb\r", "\nc")).toBe("a\r\nb\r\nc"));
  it("move down where they stand alone", () => expect(translate("a\nb", "\n\n")).toBe("a\x1bDb\x1bD\x1bD"));
});
