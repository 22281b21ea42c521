/**
 * What "vitest" is in the nested guest: Vitest's own collector of tests and its own expectations, without the processes,
 * module server and reporters around them (run-tests.ts runs what they collect). Left out: most of vi, snapshots, expect.poll.
 */

import { chai, GLOBAL_EXPECT, JestAsymmetricMatchers, JestChaiExpect, JestExtend, setState } from "@vitest/expect";

import { fn, restoreAllMocks, spyOn } from "@vitest/spy";

export { afterAll, afterEach, beforeAll, beforeEach, describe, it, suite, test } from "@vitest/runner";

for (const part of [JestExtend, JestChaiExpect, JestAsymmetricMatchers]) chai.use(part);
const expectation = chai.expect as unknown as Parameters<typeof setState>[1];
setState({ assertionCalls: 0, isExpectingAssertions: false, expectedAssertionsNumber: null }, expectation);
Object.defineProperty(globalThis, GLOBAL_EXPECT, { value: expectation, configurable: true, writable: true });

export const expect = expectation;
export const vi = { fn, spyOn, restoreAllMocks };
