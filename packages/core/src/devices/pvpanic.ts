/**
 * The panic device of virtual PCs (QEMU's docs/specs/pvpanic): a port at which a guest's kernel says that it has crashed, and
 * the machine ends as crashed. A read tells which events there are. Without registers it has no state.
 */
import type { IoBus, IoHandler } from "../bus/io.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "./device.ts";

const EVENT = { PANICKED: 1, CRASH_LOADED: 2 } as const;

export class Pvpanic implements Device {
  readonly name = "pvpanic";
  readonly schema = { id: "pvpanic", version: 1 } as const;
  readonly registers: IoHandler;

  constructor(context: DeviceContext) {
    this.registers = {
      read: () => EVENT.PANICKED | EVENT.CRASH_LOADED,
      // A guest that loads a kernel for the crash goes on by itself.
      write: (_offset, _size, value) => {
        if (value & EVENT.PANICKED)
          context.power("crashed", "the guest's kernel panicked, as it told the panic device");
      },
    };
  }

  reset(): void {}

  save(): StateValue {
    return {};
  }

  restore(state: StateValue): void {
    new StateReader(state, this.name).end();
  }
}

export function createPvpanic(context: DeviceContext): Pvpanic {
  return new Pvpanic(context);
}

export function attachPvpanic(pvpanic: Pvpanic, ports: IoBus, base: { pvpanic: number }): void {
  ports.claim(base.pvpanic, 1, pvpanic.registers, { name: "pvpanic" });
}
