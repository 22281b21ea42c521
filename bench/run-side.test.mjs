import { describe, expect, it } from "vitest";
import { runSide } from "./run-side.mjs";

const script = (text) => ({ file: "/bin/sh", args: ["-c", text], env: { WORD: "x" }, guestBytes: 2 ** 29 });

describe("runSide", () => {
  it("stamps marked lines, also behind other text, and gives the status and the last words", async () => {
    const seen = [];
    const run = await runSide(
      script('echo no; printf "boot @@B $WORD\\r\\n"; sleep 0.2; echo @@E; echo why >&2; exit 3'),
      (text) => seen.push(text),
    );
    expect(seen).toEqual(["@@B x", "@@E"]);
    const [begin, end] = run.events;
    expect(end.wall - begin.wall).toBeGreaterThan(0.15);
    expect(run.wall).toBeGreaterThanOrEqual(end.wall);
    expect(run.exit).toBe(3);
    expect(run.tail).toMatch(/why/);
  });

  it("says so when there is no such program", async () => {
    await expect(runSide({ file: "/nonexistent/emulator", args: [], env: {}, guestBytes: 1 })).rejects.toThrow(
      /ENOENT/,
    );
  });
});
