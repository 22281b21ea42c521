import { execFileSync } from "node:child_process";
import { describe, expect, it } from "vitest";
import { AGENT_SCRIPT } from "../image/guest-scripts.ts";
import { AgentError } from "./agent-error.ts";
import { decodeWord, encodeWord, MAX_WORD_BYTES } from "./word-encoding.ts";

const ALL_BYTES = Buffer.from(Array.from({ length: 255 }, (_, index) => index + 1));
const WORDS = [
  "",
  "-",
  "--",
  "-l",
  "a b",
  "new\nline\n",
  "\n",
  "'\"$`\\",
  "*",
  "~",
  "é€😀",
  "\\055",
  "#",
  ";",
  "a=b,c:d",
];

function findBusybox(): string | undefined {
  try {
    execFileSync("busybox", ["sh", "-c", ":"], { stdio: "ignore" });
    return "busybox";
  } catch {
    return undefined;
  }
}

describe("encodeWord", () => {
  it("writes words that split at spaces and are plain ASCII", () => {
    for (const word of [...WORDS, ALL_BYTES]) expect(encodeWord(word, "x")).toMatch(/^[A-Za-z0-9_./=:,+@%^\\-]+$/);
    expect(encodeWord("/bin/ls", "x")).toBe("/bin/ls");
  });

  it("is undone by decodeWord", () => {
    for (const word of WORDS) expect(Buffer.from(decodeWord(encodeWord(word, "x"))!).toString("utf8")).toBe(word);
    expect(decodeWord(encodeWord(ALL_BYTES, "x"))).toEqual(new Uint8Array(ALL_BYTES));
  });

  it("refuses what no program can be given, and says so", () => {
    expect(() => encodeWord("a\0b", "Argument 2")).toThrow(/Argument 2 contains a NUL byte/);
    expect(() => encodeWord("x".repeat(MAX_WORD_BYTES + 1), "Argument 2")).toThrow(AgentError);
  });
});

describe("decodeWord", () => {
  it.each(["a b", "\\", "\\0", "\\05", "\\400", "\\08x", "a'b", "$x", "", "a\nb"])("refuses %j", (word) => {
    expect(decodeWord(word)).toBeUndefined();
  });
});

const busybox = findBusybox();

describe.skipIf(busybox === undefined)("the guest's decoder (needs busybox on this host)", () => {
  const decoder = /^decode\(\) \{.*?^\}/ms.exec(AGENT_SCRIPT)?.[0] ?? "";
  const decodeInGuest = (words: readonly string[]): Buffer => {
    const script = `${decoder}\nfor word; do decode "$word" && printf '%s\\0' "$value" || printf 'refused\\0'; done`;
    return execFileSync(busybox!, ["sh", "-c", script, "sh", ...words]);
  };

  it("agrees with the host's encoder for every byte", () => {
    const words = [...WORDS.map((word) => Buffer.from(word)), ALL_BYTES];
    const expected = Buffer.concat(words.flatMap((word) => [word, Buffer.alloc(1)]));
    expect(decodeInGuest(words.map((word) => encodeWord(word, "x"))).equals(expected)).toBe(true);
  });

  it("refuses whatever could do more than be decoded", () => {
    const words = ["$(id)", "`id`", "a'b", "\\", "a\\", "\\1", "\\12", "\\400", "\\x41", "\\c", "a b", "a\nb", "$x"];
    expect(decodeInGuest(words).toString("latin1")).toBe("refused\0".repeat(words.length));
  });

  it("is part of scripts that parse", () => {
    expect(() => execFileSync(busybox!, ["sh", "-n"], { input: AGENT_SCRIPT })).not.toThrow();
  });
});
