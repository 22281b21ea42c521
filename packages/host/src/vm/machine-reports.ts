/** What a machine says of itself to the other side, and the parts that this is put together from. */
import { AhciController, DiskBays, FloppyController, IdeController, type Machine, trayChannel } from "@twinmetal/core";
import type { TrayReport } from "../disk/let-go.ts";
import { privilegeLevel } from "./crash-report.ts";
import type { VmRegisters } from "./worker-protocol.ts";

/** Of several: what each has retired. */
export function processorStats({ vcpus, processors }: Machine): Readonly<Record<string, number>> {
  if (vcpus.length === 1) return {};
  const each = vcpus.map(({ retired }, index) => [`vcpu${index}Retired`, retired] as const);
  return { cpus: vcpus.length, turns: processors.turns, ...Object.fromEntries(each) };
}

export function registersOf(machine: Machine): VmRegisters {
  // The one whose turn it is.
  const vcpu = machine.vcpus[machine.processors.current]!.getState();
  const { rip, rflags, gpr, cr0, cr2, cr3, cr4, halted, retired } = vcpu;
  return {
    cpl: privilegeLevel(vcpu),
    rip,
    rflags,
    gpr,
    cs: vcpu.cs.selector,
    ss: vcpu.ss.selector,
    cr0,
    cr2,
    cr3,
    cr4,
    isHalted: halted,
    retired,
  };
}

export function joined(parts: readonly Uint8Array[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

export function trayOf(machine: Machine, disk: string): TrayReport | undefined {
  const channel = trayChannel(disk);
  for (const device of machine.board.devices) {
    const isController =
      device instanceof AhciController ||
      device instanceof IdeController ||
      device instanceof FloppyController ||
      device instanceof DiskBays;
    const tray = isController ? device.trayOf(disk) : undefined;
    if (!tray) continue;
    const isWaiting = machine.waitingEvents.some((event) => event.kind === "input" && event.channel === channel);
    return { ...tray, isWaiting };
  }
  return undefined;
}
