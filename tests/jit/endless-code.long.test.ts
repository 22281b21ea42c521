// A guest that writes new code for ever, in a process of its own: its memory must end to grow, within what was measured.
// TWINMETAL_ENDLESS_MINUTES: how long at least; it goes on until enough modules were dropped, which on a busy host takes
// longer: what is translated and what V8 compiles has the lowest priority. The short form, without a clock and with the results compared, is
// packages/core/src/jit/endless-code.test.ts.

import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { bareKernel } from "../guest/bare-kernel.ts";

const MINUTES = Number(process.env["TWINMETAL_ENDLESS_MINUTES"] ?? 6);
const MIB = 2 ** 20;
/** The floor of docs/specification.md is 250 MiB above the guest's RAM, of which some 8 MiB are touched. */
const MOST_BYTES = 258 * MIB;
const MOST_GROWTH_BYTES = 32 * MIB;
const FEWEST_DROPPED = 1000;
/** An eighth of DEFAULT_BOUNDS' modules may be there before any is dropped, and a sixteenth comes between two times; each is used once. */
const MOST_LIVE = 250 + 2 * 125;
/** On a host that is so busy that this does not do, nothing is shown. */
const MOST_MINUTES = 20 + 10 * MINUTES;
const SECONDS_A_SAMPLE = 1;

const le32 = (value: number): number[] => [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];
const FILLER = 20;

/** As in the short form, with FILLER more instructions (rol rax, 1) in each piece of code, which is 256 bytes from the next. */
const LOOP = [
  ...[0x89, 0xdf, 0x81, 0xe7, ...le32(0x3fff)], // mov edi, ebx; and edi, 0x3fff
  ...[0xc1, 0xe7, 0x08, 0x81, 0xc7, ...le32(0x400000), 0x89, 0xfe], // shl edi, 8; add edi, 0x400000; mov esi, edi
  ...[0x66, 0xc7, 0x07, 0x48, 0x05, 0x89, 0x5f, 0x02], // mov word [rdi], add rax,; mov [rdi + 2], ebx
  ...[0x83, 0xc7, 0x06, 0xb9, ...le32(FILLER)], // add edi, 6; mov ecx, FILLER
  ...[0xc7, 0x07, 0x48, 0xd1, 0xc0, 0x90], // mov dword [rdi], rol rax, 1; nop
  ...[0x83, 0xc7, 0x04, 0xff, 0xc9, 0x75, 0xf3], // add edi, 4; dec ecx; jnz to the store
  ...[0xc6, 0x07, 0xc3, 0xb9, ...le32(12_000)], // mov byte [rdi], ret; mov ecx, 12000
  ...[0xff, 0xd6, 0xff, 0xc9, 0x75, 0xfa], // call rsi; dec ecx; jnz to the call
  ...[0xff, 0xc3], // inc ebx
];
const GUEST = [0x31, 0xdb, 0xbc, ...le32(0x300000), ...LOOP, 0xe9, ...le32(-(LOOP.length + 5))];

function residentBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024;
}

test("endless fresh code", { timeout: (MOST_MINUTES + 2) * 60_000 }, async () => {
  const directory = mkdtempSync(join(tmpdir(), "twinmetal-endless-"));
  const kernel = join(directory, "kernel");
  writeFileSync(kernel, bareKernel(GUEST));
  const script = fileURLToPath(new URL("endless-vm.mjs", import.meta.url));
  const child = spawn(process.execPath, [script, kernel], { stdio: ["ignore", "pipe", "inherit"] });
  const samples: number[] = [];
  let made = 0;
  let dropped = 0;
  let mostLive = 0;
  try {
    for await (const line of createInterface({ input: child.stdout })) {
      const stats = JSON.parse(line) as Record<string, number>;
      samples.push(residentBytes(child.pid as number));
      made = stats["regionModules"] ?? 0;
      dropped = stats["regionModulesDropped"] ?? 0;
      mostLive = Math.max(mostLive, made - dropped);
      expect(stats["regionResets"]).toBe(0);
      const minutes = (samples.length * SECONDS_A_SAMPLE) / 60;
      if ((minutes >= MINUTES && dropped > FEWEST_DROPPED) || minutes >= MOST_MINUTES) break;
    }
    const half = samples.length >> 1;
    const [before, after] = [Math.max(...samples.slice(0, half)), Math.max(...samples.slice(half))];
    const mib = (bytes: number): number => Math.round(bytes / MIB);
    console.log(
      `${samples.length} s, ${made} modules, ${dropped} dropped, ${mostLive} at a time, at most ${mib(before)} then ${mib(after)} MiB`,
    );
    expect(dropped).toBeGreaterThan(FEWEST_DROPPED);
    expect(mostLive).toBeLessThanOrEqual(MOST_LIVE);
    expect(after - before).toBeLessThan(MOST_GROWTH_BYTES);
    expect(Math.max(before, after)).toBeLessThan(MOST_BYTES);
  } finally {
    child.kill("SIGKILL");
    rmSync(directory, { recursive: true, force: true });
  }
});
