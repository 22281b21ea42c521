import { expect, it } from "vitest";
import { collectGarbage } from "./collect-garbage.ts";

it("collects what nobody has", async () => {
  const dropped = new WeakRef({ some: "object" });
  await new Promise((resolve) => setTimeout(resolve, 0));
  collectGarbage();
  expect(dropped.deref()).toBeUndefined();
  expect(typeof (globalThis as { gc?: unknown }).gc).toBe("undefined");
});
