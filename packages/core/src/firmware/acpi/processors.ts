/**
 * Processors in ACPI's name space (ACPI 6.5, 8.4; 6.3 for those that come and go, over the registers of
 * hotplug.ts):
 *
 *   \_SB.Cnnn          _HID, _UID; where processors come and go also _STA, _MAT and, of all but the first, _EJ0
 *   \_GPE._E06         tells the operating system which have come or shall go
 */
import { GPE, PORT_MAP } from "../../machine/board-map.ts";
import { type Aml, buffer, concat, device, ifNotZero, integer, method, name, returning, string } from "./aml.ts";
import { ejectMethod, type HotplugNames, hotplugEvents, hotplugRegisters, isThere } from "./hotplug.ts";
import { localApicEntry, MADT_FLAG } from "./madt.ts";

const THERE = 0xf;
const NAMES: HotplugNames = { region: "CPUR", present: "CPRS", arrived: "CARR", leaving: "CLEA", eject: "CEJE" };

/** Terms of \_SB. `areFixed`: all are there, always. */
export function processors(count: number, areFixed: boolean): Aml {
  const each = Array.from({ length: count }, (_, index) => index);
  if (areFixed) return concat(...each.map((index) => device(pathOf(index), ...identity(index))));
  return concat(hotplugRegisters(NAMES, PORT_MAP.cpuHotplug), ...each.map(hotProcessor));
}

/** At the root. */
export function processorEvents(count: number): Aml {
  const paths = Array.from({ length: count }, (_, index) => `\\_SB.${pathOf(index)}`);
  return hotplugEvents(NAMES, GPE.processors, paths);
}

function pathOf(index: number): string {
  return `C${index.toString(16).toUpperCase().padStart(3, "0")}`;
}

function identity(index: number): Aml[] {
  return [name("_HID", string("ACPI0007")), name("_UID", integer(index))];
}

function hotProcessor(index: number): Aml {
  return device(
    pathOf(index),
    ...identity(index),
    method("_STA", 0, ifNotZero(isThere(NAMES, index), returning(integer(THERE))), returning(integer(0))),
    name("_MAT", buffer(localApicEntry(index, MADT_FLAG.ENABLED))),
    ...(index > 0 ? [ejectMethod(NAMES, index)] : []),
  );
}
