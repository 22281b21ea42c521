/**
 * A port that firmware and kernels under test print to, one character a write: 0x402, as SeaBIOS and OVMF use it, and 0xE9,
 * which goes back to Bochs. A read answers that it is there. Without registers it has no state, and no section in states.
 */
import type { IoBus, IoHandler } from "../bus/io.ts";
import { StateReader } from "../state/reader.ts";
import type { Device, DeviceContext, StateValue } from "./device.ts";

/** The channel of what is printed. */
export const DEBUG_CHANNEL = "debug";
const PRESENT = 0xe9;

export class DebugPort implements Device {
  readonly name = "debug-port";
  readonly schema = { id: "debug-port", version: 1 } as const;
  readonly registers: IoHandler;

  constructor(context: DeviceContext) {
    this.registers = {
      read: () => PRESENT,
      write: (_offset, _size, value) => context.output(DEBUG_CHANNEL, Uint8Array.of(value)),
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

export function createDebugPort(context: DeviceContext): DebugPort {
  return new DebugPort(context);
}

export function attachDebugPort(port: DebugPort, ports: IoBus, base: { debug: number; bochsDebug: number }): void {
  for (const at of [base.debug, base.bochsDebug]) ports.claim(at, 1, port.registers, { name: "debug port" });
}
