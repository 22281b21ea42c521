/** A whole machine in virtual time as an execution: its devices run, too, and see the same instruction counts. */
import type { Machine } from "../machine/machine.ts";
import type { Execution } from "./execution.ts";

/** `machine` is created, not started; its spec's clock is "virtual". Of several vCPUs the one whose turn it is is compared. */
export function machineExecution(name: string, machine: Machine, ram: Uint8Array): Execution {
  machine.start();
  return {
    name,
    ram,
    get retired(): number {
      return machine.retired;
    },
    state: () => machine.vcpus[machine.processors.current]!.getState(),
    advance(retired) {
      while (machine.retired < retired) {
        const result = machine.runSlice(retired);
        if (result.kind !== "ran") return false;
      }
      machine.settle();
      return true;
    },
  };
}
