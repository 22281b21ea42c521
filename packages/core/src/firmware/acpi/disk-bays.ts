/**
 * Bays for disks in ACPI's name space (ACPI 6.5, 6.3), over the registers of devices/disk-bays.ts:
 *
 *   \\_SB.PCI0.Bnnn     a slot of bus 0: _ADR, _SUN, and _EJ0, by which an operating system knows that its device comes and goes
 *   \\_GPE._E07         tells the operating system which have come or shall go
 */
import { GPE, PORT_MAP } from "../../machine/board-map.ts";
import { type Aml, concat, device, integer, name } from "./aml.ts";
import { ejectMethod, type HotplugNames, hotplugEvents, hotplugRegisters } from "./hotplug.ts";

const NAMES: HotplugNames = { region: "BAYR", present: "BPRS", arrived: "BARR", leaving: "BLEA", eject: "BEJE" };

/** Terms of \\_SB. */
export function diskBayRegisters(): Aml {
  return hotplugRegisters(NAMES, PORT_MAP.diskBays);
}

/** Terms of the host bridge. `slots`: device numbers of bus 0, in the order of the bays. */
export function diskBays(slots: readonly number[]): Aml {
  return concat(
    ...slots.map((slot, index) =>
      device(
        nameOf(index),
        name("_ADR", integer(slot * 0x1_0000)),
        name("_SUN", integer(slot)),
        ejectMethod(NAMES, index),
      ),
    ),
  );
}

/** At the root. */
export function diskBayEvents(count: number): Aml {
  const paths = Array.from({ length: count }, (_, index) => `\\_SB.PCI0.${nameOf(index)}`);
  return hotplugEvents(NAMES, GPE.diskBays, paths);
}

function nameOf(index: number): string {
  return `B${index.toString(16).toUpperCase().padStart(3, "0")}`;
}
