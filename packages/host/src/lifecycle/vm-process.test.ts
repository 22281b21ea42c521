import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { vmFolder } from "./vm-folder.ts";
import { startProcess } from "./vm-process.ts";

let directory = "";
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tm-process-"));
  mkdirSync(join(directory, "box"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** A process that is over at once, and leaves this record. */
function start(end: object | undefined) {
  const folder = vmFolder(directory, "box");
  const record = JSON.stringify({ startedAt: "then", ...(end && { end: { at: "then", ...end } }) });
  const script = `fs.writeFileSync(process.argv[1], JSON.stringify({ pid: process.pid, ...${record} })); console.log("said");`;
  return startProcess(folder, directory, { program: process.execPath, args: ["-e", script, folder.run] });
}

describe("a VM whose process ends before it was seen to run", () => {
  it("has been started, if it has turned off", async () => {
    const end = { kind: "off", reason: "ACPI" };
    expect(await start(end)).toMatchObject({ name: "box", state: "off", end });
  });

  it("has not been started, if it crashed or never ran", async () => {
    await expect(start({ kind: "crashed", reason: "triple fault" })).rejects.toThrow("crashed at once: triple fault");
    await expect(start({ kind: "failed", reason: "no" })).rejects.toThrow("could not be started: said");
    await expect(start(undefined)).rejects.toMatchObject({ code: "start-failed" });
  });
});
