/** For tests with a Linux in the nested guest, where everything takes long: its first command, and what commands print. */
import { AgentError, type Vm } from "@twinmetal/host";
import { expect } from "vitest";

export async function textOf(vm: Vm, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await vm.exec(["sh", "-c", script], { agentTimeoutMs: 240_000 });
  expect([exitCode, new TextDecoder().decode(stderr)]).toEqual([0, ""]);
  return new TextDecoder().decode(stdout).trim();
}

/** However long the boot takes in here. */
export async function booted(vm: Vm): Promise<void> {
  for (;;) {
    try {
      expect(await textOf(vm, "uname -s")).toBe("Linux");
      return;
    } catch (error) {
      if (!(error instanceof AgentError && error.code === "AGENT_TIMEOUT")) throw error;
    }
  }
}

/** Says how long each step took. */
export function lapOf(): (what: string) => void {
  let sinceMs = performance.now();
  return (what) => {
    console.log(`${what}: ${Math.round(performance.now() - sinceMs)} ms`);
    sinceMs = performance.now();
  };
}
