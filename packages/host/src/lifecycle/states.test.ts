import { describe, expect, it } from "vitest";
import { allowedVerbs, hasProcess, isAllowed, LIFECYCLE_VERBS, requireAllowed } from "./states.ts";

describe("the states of a VM", () => {
  it("can all be left, and ended while there is a process", () => {
    for (const state of ["starting", "running", "paused", "stopping", "silent"] as const) {
      expect(isAllowed("kill", state)).toBe(true);
      expect(isAllowed("start", state)).toBe(false);
      expect(isAllowed("rm", state)).toBe(false);
      expect(hasProcess(state)).toBe(true);
    }
    for (const state of ["off", "crashed"] as const) {
      expect(allowedVerbs(state)).toEqual(["start", "rename", "rm", "clone"]);
    }
    expect(allowedVerbs("saved")).toEqual(["start", "rename", "rm", "kill", "clone"]);
  });

  it("say what is possible instead", () => {
    expect(() => requireAllowed("resume", "running", "box")).toThrow(
      "VM box is running, and resume is not possible then. Possible now: stop, restart, pause, reset, kill, save, clone.",
    );
    for (const verb of LIFECYCLE_VERBS) {
      const refusing = (["off", "running", "starting"] as const).find((state) => !isAllowed(verb, state))!;
      expect(() => requireAllowed(verb, refusing, "box")).toThrow("Possible now:");
    }
  });
});
