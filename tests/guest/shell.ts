/** Scripts for a shell in the guest, by its agent. */
import { expect } from "vitest";
import type { Vm } from "../../packages/host/src/index.ts";

/** Output of a shell's script in the guest, which has to end well. */
export async function shell(vm: Vm, script: string): Promise<string> {
  const { exitCode, stdout, stderr } = await vm.exec(["sh", "-ec", script]);
  const decoder = new TextDecoder();
  expect([exitCode, decoder.decode(stderr)].join(" "), script).toMatch(/^0/);
  return decoder.decode(stdout).trim();
}

/** A script that gives the guest's first card an address of the tests' network, and waits for its cable. */
export const address = (host: number): string =>
  `ip addr add 10.1.1.${host}/24 dev eth0; ip link set eth0 up; for i in $(seq 100); do [ "$(cat /sys/class/net/eth0/carrier)" = 1 ] && break; usleep 50000; done`;
