/** What the methods of ACPI's name space do with the registers of devices/hotplug-registers.ts, in \\_SB. */
import { HOTPLUG } from "../../devices/hotplug-registers.ts";
import {
  type Aml,
  and,
  byteFields,
  concat,
  ifNotZero,
  integer,
  method,
  nameString,
  notify,
  operationRegion,
  scope,
  store,
} from "./aml.ts";
import { eventMethod } from "./event-method.ts";

/** A target that is none. */
const NOWHERE = integer(0);
const NOTIFY = { DEVICE_CHECK: 1, EJECT_REQUEST: 3 } as const;

/** Names of four letters, each its own in \\_SB. */
export interface HotplugNames {
  readonly region: string;
  readonly present: string;
  readonly arrived: string;
  readonly leaving: string;
  readonly eject: string;
}

/** Terms of \\_SB. */
export function hotplugRegisters(names: HotplugNames, port: number): Aml {
  const { region, present, arrived, leaving, eject } = names;
  return concat(
    operationRegion(region, port, HOTPLUG.sizeBytes),
    byteFields(region, [present, arrived, leaving, eject]),
  );
}

/** At the root: general-purpose event `event` tells of each unit that has come or shall go. `paths`: of the units' devices. */
export function hotplugEvents(names: HotplugNames, event: number, paths: readonly string[]): Aml {
  const told = (register: string, what: number): Aml[] =>
    paths.map((path, index) =>
      ifNotZero(
        and(nameString(`\\_SB.${register}`), integer(1 << index), NOWHERE),
        // What is written as 1 is cleared, and the rest stays.
        store(integer(1 << index), `\\_SB.${register}`),
        notify(path, what),
      ),
    );
  return scope(
    "\\_GPE",
    method(
      eventMethod(event),
      0,
      ...told(names.arrived, NOTIFY.DEVICE_CHECK),
      ...told(names.leaving, NOTIFY.EJECT_REQUEST),
    ),
  );
}

/** Whether unit `index` is there. */
export function isThere({ present }: HotplugNames, index: number): Aml {
  return and(nameString(present), integer(1 << index), NOWHERE);
}

/** The method that takes unit `index` out. */
export function ejectMethod({ eject }: HotplugNames, index: number): Aml {
  return method("_EJ0", 1, store(integer(1 << index), `\\_SB.${eject}`));
}
