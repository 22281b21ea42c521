/**
 * What a machine writes, to whom it is for: the serial port, the console's ports and their reports, and what the channels of its
 * other devices lead to. Each part has a cost (worker-protocol.ts), which is given back when it is taken; the serial port does that
 * itself. GUEST-CONTROLLED: the bytes of each.
 */
import {
  CPUS_CHANNEL,
  DEBUG_CHANNEL,
  decodePortReport,
  FLASH_NAME,
  SERIAL_CHANNEL,
  WATCHDOG_ACTIONS,
  WATCHDOG_CHANNEL,
  type WatchdogAction,
} from "@twinmetal/core";
import type { ConsolePorts } from "../agent/index.ts";
import type { VariableStore } from "../firmware/variable-store.ts";
import { type SocketsOfVm, VSOCK_NAME } from "../vsock/vm-sockets.ts";
import type { VmSerialPort } from "./serial-port.ts";
import type { CpusOfVm } from "./vm-cpus.ts";
import { BALLOON_NAME, HOT_MEMORY_NAME, type MemoryOfVm } from "./vm-memory.ts";
import { type OutputPart, PART_COST } from "./worker-protocol.ts";

/** Behind a console port's name: the channel of its reports and commands. */
export const CONTROL_SUFFIX = ".ctl";

export interface OutputTargets {
  readonly serial: VmSerialPort;
  readonly ports: ConsolePorts;
  readonly portNames: ReadonlySet<string>;
  readonly sockets: SocketsOfVm;
  readonly memory: MemoryOfVm;
  readonly cpus: CpusOfVm;
  readonly variables: VariableStore | undefined;
  readonly onWatchdog: (action: WatchdogAction) => void;
  /** A disk takes no more of the firmware's variables: why. */
  readonly onLostVariables: (reason: string) => void;
  readonly release: (cost: number) => void;
}

export class MachineOutput {
  readonly #targets: OutputTargets;

  constructor(targets: OutputTargets) {
    this.#targets = targets;
  }

  take(parts: readonly OutputPart[]): void {
    const { serial, ports, portNames, sockets, memory, cpus, release } = this.#targets;
    let freeCost = 0;
    for (const { channel, bytes } of parts) {
      const cost = bytes.length + PART_COST;
      if (channel === SERIAL_CHANNEL) {
        serial.receive(bytes, cost);
        continue;
      }
      freeCost += cost;
      if (portNames.has(channel)) ports.receiveData(channel, bytes);
      else if (channel === VSOCK_NAME) sockets.receive(bytes);
      else if (channel === BALLOON_NAME) memory.receive(bytes);
      else if (channel === HOT_MEMORY_NAME) memory.receivePlugged(bytes);
      else if (channel === CPUS_CHANNEL) cpus.receive(bytes);
      else if (channel === FLASH_NAME) this.#keepVariables(bytes);
      else if (channel === WATCHDOG_CHANNEL) this.#watchdog(bytes);
      else if (channel !== DEBUG_CHANNEL) this.#reports(channel.slice(0, -CONTROL_SUFFIX.length), bytes);
    }
    release(freeCost);
  }

  #watchdog(told: Uint8Array): void {
    const action = WATCHDOG_ACTIONS.find((known) => known === Buffer.from(told).toString("latin1"));
    if (action !== undefined) this.#targets.onWatchdog(action);
  }

  #keepVariables(reports: Uint8Array): void {
    try {
      this.#targets.variables?.apply(reports);
    } catch (error) {
      this.#targets.onLostVariables((error as Error).message);
    }
  }

  /** Reports of one port, which may have been joined. */
  #reports(port: string, bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const report = decodePortReport(bytes.subarray(at));
      if (!report) return;
      at += "bytes" in report ? 5 : 1;
      this.#targets.ports.receiveReport(port, report);
    }
  }
}
