/**
 * Processors in ACPI's name space (ACPI 6.5, 8.4; 6.3 for those that come and go, over the registers of
 * devices/cpu-hotplug.ts):
 *
 *   \_SB.Cnnn          _HID, _UID; where processors come and go also _STA, _MAT and, of all but the first, _EJ0
 *   \_GPE._E06         tells the operating system which have come or shall go
 */
import { CPU_HOTPLUG } from "../../devices/cpu-hotplug.ts";
import { GPE, PORT_MAP } from "../../machine/board-map.ts";
import {
  type Aml,
  and,
  buffer,
  byteFields,
  concat,
  device,
  ifNotZero,
  integer,
  method,
  name,
  nameString,
  notify,
  operationRegion,
  returning,
  scope,
  store,
  string,
} from "./aml.ts";
import { eventMethod } from "./event-method.ts";
import { localApicEntry, MADT_FLAG } from "./madt.ts";

const THERE = 0xf;
/** A target that is none. */
const NOWHERE = integer(0);
const NOTIFY = { DEVICE_CHECK: 1, EJECT_REQUEST: 3 } as const;
const [PRESENT, ARRIVED, LEAVING, EJECT] = ["CPRS", "CARR", "CLEA", "CEJE"] as const;

/** Terms of \_SB. `areFixed`: all are there, always. */
export function processors(count: number, areFixed: boolean): Aml {
  const each = Array.from({ length: count }, (_, index) => index);
  if (areFixed) return concat(...each.map((index) => device(pathOf(index), ...identity(index))));
  return concat(
    operationRegion("CPUR", PORT_MAP.cpuHotplug, CPU_HOTPLUG.sizeBytes),
    byteFields("CPUR", [PRESENT, ARRIVED, LEAVING, EJECT]),
    ...each.map(hotProcessor),
  );
}

/** At the root. */
export function processorEvents(count: number): Aml {
  const told = (register: string, index: number, what: number): Aml =>
    ifNotZero(
      and(nameString(`\\_SB.${register}`), integer(1 << index), NOWHERE),
      // What is written as 1 is cleared, and the rest stays.
      store(integer(1 << index), `\\_SB.${register}`),
      notify(`\\_SB.${pathOf(index)}`, what),
    );
  const each = Array.from({ length: count }, (_, index) => index);
  return scope(
    "\\_GPE",
    method(
      eventMethod(GPE.processors),
      0,
      ...each.map((index) => told(ARRIVED, index, NOTIFY.DEVICE_CHECK)),
      ...each.map((index) => told(LEAVING, index, NOTIFY.EJECT_REQUEST)),
    ),
  );
}

function pathOf(index: number): string {
  return `C${index.toString(16).toUpperCase().padStart(3, "0")}`;
}

function identity(index: number): Aml[] {
  return [name("_HID", string("ACPI0007")), name("_UID", integer(index))];
}

function hotProcessor(index: number): Aml {
  const isThere = and(nameString(PRESENT), integer(1 << index), NOWHERE);
  return device(
    pathOf(index),
    ...identity(index),
    method("_STA", 0, ifNotZero(isThere, returning(integer(THERE))), returning(integer(0))),
    name("_MAT", buffer(localApicEntry(index, MADT_FLAG.ENABLED))),
    ...(index > 0 ? [method("_EJ0", 1, store(integer(1 << index), EJECT))] : []),
  );
}
