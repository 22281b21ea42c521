/** A VM that stays (`create`, `run -d`): its options are kept in its spec file, word for word, when they make sense together. */
import { randomBytes } from "node:crypto";
import type { Io } from "./command.ts";
import { namedVms } from "./named-vms.ts";
import type { OptionSpecs, ParsedLine } from "./options.ts";
import type { SerialTarget } from "./serial-target.ts";
import type { VmFolder } from "./vm-library.ts";

/** Where a VM that is kept has its files, and where its console goes. */
export interface KeptPlace {
  readonly folder: VmFolder;
  readonly console: SerialTarget;
}

/** About the command and not about the VM, or kept in other words. */
const NOT_KEPT: ReadonlySet<string> = new Set(["name", "detach", "json", "ttl"]);

/** Answers with its name. `check` throws UsageError; `fill` puts more into its folder. Rejects with LifecycleError. */
export async function keepVm(
  io: Io,
  line: Pick<ParsedLine<OptionSpecs>, "texts" | "operands"> & {
    readonly values: { readonly name?: string | undefined; readonly ttl?: number | undefined };
  },
  check: (place: KeptPlace) => void,
  fill?: (folder: VmFolder) => Promise<void>,
): Promise<string> {
  const { values, texts, operands } = line;
  const name = values.name ?? `vm-${randomBytes(3).toString("hex")}`;
  const { store } = namedVms(io);
  check({ folder: store.folder(name), console: { kind: "null" } });
  const made = {
    directory: process.cwd(),
    image: operands[0],
    ttlMs: values.ttl,
    options: Object.fromEntries(Object.entries(texts).filter(([option]) => !NOT_KEPT.has(option))),
  };
  await store.create(name, made, fill);
  return name;
}
