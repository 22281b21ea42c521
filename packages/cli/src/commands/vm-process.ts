/** The process of a VM that is kept: started by `twinmetal start`, it runs the VM to its end. No people's command. */
import { defineCommand, type Io } from "../command.ts";
import { hostVm } from "../hosting.ts";
import { VM_PROCESS_NAME } from "../named-vms.ts";
import { parseLine } from "../options.ts";
import { UsageError } from "../usage-error.ts";
import { specWords, type Vm, type VmExit, VmStore } from "../vm-library.ts";
import { RUN_OPTIONS, runPlan } from "./run.ts";

const NEVER_RAN = { kind: "failed", reason: "ended before it ran" } as const;

export const VM_PROCESS = defineCommand({
  name: VM_PROCESS_NAME,
  summary: "run a VM that is kept, in this process",
  usage: "NAME",
  isInternal: true,
  text: [],
  options: {},
  examples: [],
  execute: async (io, { operands: [name, extra] }) => {
    if (name === undefined || extra !== undefined) throw new UsageError("one name of a VM is needed.");
    const store = new VmStore();
    const folder = store.folder(name);
    const spec = await store.read(name);
    const presence = await io.library.VmPresence.enter(folder);
    const log = { write: (text: string) => presence.log.write(Buffer.from(text)) };
    const quiet = { ...io, stdin: io.stdin, stdout: log, stderr: log } as unknown as Io;
    let vm: Vm | undefined;
    let exit: VmExit | undefined;
    try {
      const line = parseLine(RUN_OPTIONS, specWords(spec));
      const plan = runPlan(quiet, line, { folder, console: { kind: "log", log: presence.console } });
      const status = await hostVm(quiet, {
        ...plan,
        create: async (...args) => {
          vm = await plan.create(...args);
          vm.on("exit", (end) => {
            exit ??= end;
          });
          return vm;
        },
      });
      const end =
        vm === undefined ? NEVER_RAN : ({ kind: "off", reason: `ended from outside (status ${status})` } as const);
      await presence.leave(exit?.kind ?? end.kind, exit?.reason ?? end.reason);
      return status;
    } catch (error) {
      const hasRun = vm !== undefined && vm.state !== "created";
      await presence.leave(hasRun ? "crashed" : "failed", (error as Error).message);
      throw error;
    }
  },
});
