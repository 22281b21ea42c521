// The same as host-cpu.test.ts with ten million cases through the interpreter: five slices of a million for each seed.

import { describe } from "vitest";
import { compareWithHost } from "./host-suite.ts";

describe("CPU against the host, long", () => compareWithHost(1_000_000, 5));
