// Every tier of the CPU against the host's own: 20,000 cases at a fixed seed and as many at the commit's.

import { describe } from "vitest";
import { CI_CASES } from "./coverage-figures.ts";
import { compareWithHost } from "./host-suite.ts";

describe("CPU against the host", () => compareWithHost(CI_CASES));
