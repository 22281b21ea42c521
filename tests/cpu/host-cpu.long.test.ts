// The same as host-cpu.test.ts with a million cases a seed: two million through the interpreter.

import { describe } from "vitest";
import { compareWithHost } from "./host-suite.ts";

describe("CPU against the host, long", () => compareWithHost(1_000_000));
