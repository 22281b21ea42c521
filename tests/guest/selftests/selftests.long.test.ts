// Linux's x86 selftests in Debian's cloud kernel: all end with status 0, but for the one below. One by hand:
//   npx vitest run --project long tests/guest/selftests -t sigreturn_64
// The first run fetches and builds them (about 140 MB, needs apt, gcc-multilib and make).

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tinyGuest } from "../tiny-guest.ts";
import { SelfTestGuest, type SelfTestResult, tableRow } from "./guest.ts";
import { selfTests } from "./programs.ts";

const TIMEOUT_SECONDS = 240;
/** What ends otherwise on every processor of this model: this one asks for AMX and takes its absence for a failure. */
const EXPECTED: Readonly<Record<string, { readonly status: number; readonly output: RegExp }>> = {
  amx_64: { status: 1, output: /xstate cpuid: invalid tile data size/ },
};

const tests = await selfTests();
const found = await tinyGuest();
const missing = "missing" in tests ? tests.missing : "missing" in found ? found.missing : undefined;

describe.skipIf(missing)(`x86 selftests${missing ? ` (skipped: ${missing})` : ""}`, () => {
  const results: SelfTestResult[] = [];
  let guest: SelfTestGuest;

  beforeAll(async () => {
    if ("missing" in tests || "missing" in found) return;
    guest = await SelfTestGuest.boot(tests, found.image);
  });

  afterAll(async () => {
    console.log(results.map(tableRow).join("\n"));
    await guest?.[Symbol.asyncDispose]();
  });

  it.each("missing" in tests ? [] : tests.names)("%s", async (name) => {
    const result = await guest.run(name, TIMEOUT_SECONDS);
    results.push(result);
    const { status, output } = EXPECTED[name] ?? { status: 0, output: /./ };
    if (result.status !== status) console.log(`${name}:\n${result.output.slice(-6000)}`);
    expect(result.status).toBe(status);
    expect(result.output).toMatch(output);
  });
});
