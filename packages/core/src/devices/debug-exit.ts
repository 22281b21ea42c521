/**
 * A port by which test programs and kernels end their machine with a status (QEMU's isa-debug-exit): writing V turns it off,
 * and the status is 2V + 1, as there. Only where a machine's spec asks for it. Without registers it has no state.
 */
import type { IoBus, IoHandler } from "../bus/io.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "./device.ts";

export class DebugExit implements Device {
  readonly name = "debug-exit";
  readonly schema = { id: "debug-exit", version: 1 } as const;
  readonly registers: IoHandler;

  constructor(context: DeviceContext) {
    this.registers = {
      read: () => 0,
      write: (_offset, _size, value) => context.power("off", `${DEBUG_EXIT_REASON}${2 * value + 1}`),
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

/** What the reason of such an end begins with; the status follows. */
export const DEBUG_EXIT_REASON = "the guest ended with debug status ";

export function createDebugExit(context: DeviceContext): DebugExit {
  return new DebugExit(context);
}

export function attachDebugExit(device: DebugExit, ports: IoBus, base: { debugExit: number }): void {
  ports.claim(base.debugExit, 4, device.registers, { name: "debug exit" });
}
