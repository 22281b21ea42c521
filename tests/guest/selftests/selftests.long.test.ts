// Linux's x86 selftests in Debian's cloud kernel: each ends with status 0. One by hand:
//   npx vitest run --project long tests/guest/selftests -t sigreturn_64
// The first run fetches and builds them (about 140 MB, needs apt, gcc-multilib and make).

import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { tinyGuest } from "../tiny-guest.ts";
import { SelfTestGuest, type SelfTestResult, tableRow } from "./guest.ts";
import { selfTests } from "./programs.ts";

const TIMEOUT_SECONDS = 60;

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
    if (result.status !== 0) console.log(`${name}:\n${result.output.slice(-6000)}`);
    expect(result.status).toBe(0);
  });
});
