/** `twinmetal run --incoming TARGET`: what is run here is a VM that comes from another process. */
import { seedDisks } from "../cloud-init-choice.ts";
import type { Io } from "../command.ts";
import { disksOf } from "../disk-choice.ts";
import type { HostingPlan } from "../hosting.ts";
import { limitsOf } from "../limit-choice.ts";
import { linkSecurity } from "../migration-options.ts";
import { networksOf } from "../network-choice.ts";
import type { ParsedLine } from "../options.ts";
import { promiseOfState } from "../state-options.ts";
import { translationCache } from "../translation-cache.ts";
import { UsageError } from "../usage-error.ts";
import { type DiskOptions, type Policy, switchCardsOfSpec } from "../vm-library.ts";
import type { RUN_OPTIONS } from "./run.ts";

/** What the VM brings with it, and what cannot be of one that is here already. */
const NOT_HERE = [
  ...(["append", "cpu", "cpus", "smp", "engine", "clock", "seed", "epoch", "record", "mirror", "suite"] as const),
  ...(["boot", "vga", "diskBays", "netBays", "balloon", "watchdog", "module", "vsock", "gdb"] as const),
];

/** What a line with --incoming means. Throws UsageError. */
export function incomingPlan(
  io: Io,
  { values, operands, rest }: ParsedLine<typeof RUN_OPTIONS>,
  policy: Policy = {},
): HostingPlan {
  const address = values.incoming!;
  const extra = operands[0] ?? (rest === undefined ? undefined : "--");
  if (extra !== undefined) throw new UsageError(`"${extra}" is one word too many: --incoming takes a VM as it comes.`);
  const wrong = NOT_HERE.find((name) => values[name] !== undefined);
  if (wrong !== undefined)
    throw new UsageError(
      `--${wrong.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} and --incoming exclude each other: the VM brings that with it.`,
    );
  const security = linkSecurity(values);
  const disks = async (): Promise<DiskOptions[]> => [...disksOf(values), ...(await seedDisks(io, values))];
  const serial = values.serial ?? { kind: "stdio" };
  const say = (message: string): void => void io.stderr.write(`twinmetal: ${message}\n`);
  const { kernel, initrd, firmware, name, tier, memory, migrationSocket } = values;
  const how =
    migrationSocket === undefined ? "" : ` Decide here with: twinmetal migrate ${migrationSocket} --decide run|discard`;
  return {
    create: async (signal, _onProgress, control) =>
      await io.library.receiveVm(address, {
        ...security,
        kernel,
        firmware,
        initrd,
        disks: await disks(),
        networks: networksOf(values),
        shares: values.share,
        name,
        tier,
        maxMemoryBytes: memory?.maxBytes ?? memory?.bytes,
        translationCache: translationCache(values.translationCache, io.env),
        signal,
        limits: limitsOf(values),
        admit: async ({ spec, name: itsName, migration }) => {
          const [wanted, rules] = [promiseOfState(spec), policy.admission];
          const cards = switchCardsOfSpec(spec, networksOf(values));
          await io.library.admitVm({ name: name ?? itsName, wanted, cards, rules, migration });
        },
        withdraw: io.library.withdrawVm,
        onListening: (bound) => say(`waiting for a VM at ${io.library.formatAddress(bound)}`),
        onFailed: ({ message }) => say(`no VM has come: ${message} Waiting for the next.`),
        onHeld: ({ message }, decide) => {
          control.held = decide;
          say(
            `the VM is here, but its source was lost before it said which side goes on (${message}) It is kept, paused, until its source asks for it. Let it run here only if its source has ended.${how}`,
          );
        },
      }),
    command: undefined,
    serial,
    greeting: (vm) =>
      `VM ${vm.name} has come. Ctrl-] ${values.save ? `saves it to ${values.save} and leaves` : "leaves and ends it"}.`,
    hasAgent: kernel === undefined,
    endsWithInput: false,
    endsWithPanic: true,
    timeoutMs: values.timeout,
    savePath: values.save,
    disks,
    networks: networksOf(values),
    policy,
    shares: values.share,
    controlSockets: migrationSocket === undefined ? [] : [migrationSocket],
    wantsStatistics: values.stats === true,
  };
}
