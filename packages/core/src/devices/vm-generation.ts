/**
 * The generation identifier ("Virtual Machine Generation ID", Microsoft, 2018): 128 bits in guest memory that are others in
 * each copy of a VM. The host says that this machine is a copy now, on a channel; the guest reads the new value, and is
 * told by a general-purpose event, so that it draws other random numbers than the VM it comes from. The ACPI tables, and
 * firmware, say where in memory it is.
 *
 * A reset is none of the guest's doing that makes it another copy: the identifier stays.
 */
import type { Gpa } from "../memory/guest-memory.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "./device.ts";

/** What the host makes it a copy by: 16 bytes, the new identifier. */
export const GENERATION_CHANNEL = "generation0";
export const GENERATION_ID_BYTES = 16;

export interface VmGenerationOptions {
  /** Of a machine that is no copy; kept up to date, for firmware or a boot without it to put into memory. */
  readonly id: Uint8Array;
  /** Where it is in guest memory. Undefined: nobody has placed it yet. */
  readonly address: () => Gpa | undefined;
  /** It has changed. */
  readonly onChange: () => void;
}

export class VmGeneration implements Device {
  readonly name = "generation";
  readonly schema = { id: "vm-generation", version: 1 } as const;
  readonly isNewerThanStates = true;
  readonly #context: DeviceContext;
  readonly #options: VmGenerationOptions;

  constructor(context: DeviceContext, options: VmGenerationOptions) {
    this.#context = context;
    this.#options = options;
    context.onInput(GENERATION_CHANNEL, (bytes) => this.#change(bytes));
  }

  reset(): void {}

  save(): StateValue {
    return { id: this.#options.id.slice() };
  }

  restore(state: StateValue): void {
    const reader = new StateReader(state, this.name);
    const id = reader.bytesExact("id", GENERATION_ID_BYTES);
    reader.end();
    this.#options.id.set(id);
  }

  #change(bytes: Uint8Array): void {
    if (bytes.length !== GENERATION_ID_BYTES) return;
    this.#options.id.set(bytes);
    // GUEST-CONTROLLED: where firmware has put it. Outside RAM nothing is written.
    const address = this.#options.address();
    if (address === undefined) return;
    this.#context.memory.write(address, bytes);
    this.#options.onChange();
  }
}

export function createVmGeneration(context: DeviceContext, options: VmGenerationOptions): VmGeneration {
  return new VmGeneration(context, options);
}
