// Every ROM with its blocks translated at any time, as chance says.

import { expect, test } from "vitest";
import { ENGINES } from "../jit/tiers.ts";
import { loadRoms } from "./planted-suite.ts";
import { runRom } from "./rom-machine.ts";

test.each(loadRoms())("$name", ({ image, expected }) => {
  const { lines, end } = runRom(image, ENGINES["mixed"]);
  expect(lines.join("\n")).toBe(expected);
  expect(end).toBe("END");
});
