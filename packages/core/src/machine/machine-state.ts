/**
 * A machine as sections, and sections as a machine. Order of restoring: memory, the vCPU (whose count carries time), the
 * clock, the random stream, the devices in the board's order.
 */
import type { StateValue } from "../devices/device.ts";
import { decodeState, encodeState } from "../state/codec.ts";
import { StateError } from "../state/errors.ts";
import { StateFile, type StateSink, type StateSource, writeStateFile } from "../state/file.ts";
import { StateReader } from "../state/reader.ts";
import { MEMORY_SECTION, type StateSection } from "../state/section.ts";
import { SectionTable } from "../state/section-table.ts";
import { VCPU_SCHEMA, vcpuFromState, vcpuToState } from "../state/vcpu-state.ts";
import type { Machine } from "./machine.ts";
import { MAX_TURN, type ProcessorsState } from "./processors.ts";
import { type MachineSpec, specFromState, specToState } from "./spec.ts";

const VERSION = 1;

/** Precondition: the machine is settled. */
export function machineSections(machine: Machine): StateSection[] {
  const own = (name: string, state: StateValue): StateSection => ({ name, schema: name, version: VERSION, state });
  const { skips } = machine.position;
  return [
    own("spec", specToState(machine.spec)),
    own("clock", machine.clock.save()),
    own("events", { count: machine.eventCount, skips }),
    own("random", machine.random.save()),
    ...machine.vcpus.map((vcpu, index) => ({
      name: `vcpu${index}`,
      schema: VCPU_SCHEMA.id,
      version: VCPU_SCHEMA.version,
      state: vcpuToState(vcpu.getState()),
    })),
    ...(machine.vcpus.length > 1 ? [own("processors", processorsToState(machine.processors.save()))] : []),
    ...machine.board.devices.map((device) => ({
      name: `device/${device.name}`,
      schema: device.schema.id,
      version: device.schema.version,
      state: device.save(),
    })),
  ];
}

/** Preconditions: between two slices; the machine is running or paused. A running one stays so. */
export function saveMachine(machine: Machine, sink: StateSink): void {
  machine.settle();
  writeStateFile(sink, machineSections(machine), machine.memory.regions);
}

const MAX_SECTIONS = 256;
const REHEARSALS = 3;

/** What a state of this machine consists of, beside RAM: what a program must know to read it. */
export function machineForms(
  machine: Machine,
): { readonly name: string; readonly schema: string; readonly version: number }[] {
  const own = (name: string): { name: string; schema: string; version: number } => ({
    name,
    schema: name,
    version: VERSION,
  });
  return [
    ...["spec", "clock", "events", "random"].map(own),
    ...machine.vcpus.map((_, index) => ({
      name: `vcpu${index}`,
      schema: VCPU_SCHEMA.id,
      version: VCPU_SCHEMA.version,
    })),
    ...(machine.vcpus.length > 1 ? [own("processors")] : []),
    ...machine.board.devices.map(({ name, schema }) => ({
      name: `device/${name}`,
      schema: schema.id,
      version: schema.version,
    })),
  ];
}

/** Everything but RAM, for a machine that has got RAM by another way. Preconditions: as for `saveMachine`. */
export function saveSections(machine: Machine): Uint8Array {
  machine.settle();
  const list = machineSections(machine).map(({ name, schema, version, state }) => ({ name, schema, version, state }));
  return encodeState({ sections: list });
}

/** What saving and reading a state takes is done once for nothing, so that it is fast when a guest waits for it. */
export function rehearseSections(machine: Machine): void {
  for (let i = 0; i < REHEARSALS; i++) decodeState(saveSections(machine), "state");
}

/** As `restoreMachine`, from `saveSections`; RAM holds already what it shall. */
export function restoreSections(machine: Machine, bytes: Uint8Array): void {
  const reader = new StateReader(decodeState(bytes, "state"), "state");
  const sections = reader.array("sections", MAX_SECTIONS).map((section): StateSection => {
    const name = section.text("name", 128);
    const schema = section.text("schema", 128);
    const version = section.u32("version");
    const state = section.part("state");
    section.end();
    return { name, schema, version, state };
  });
  reader.end();
  const table = new SectionTable(sections.filter(({ name }) => name !== MEMORY_SECTION));
  restoreParts(machine, table, () => {});
}

/** What kind of machine a state needs. The caller builds it and then calls `restoreMachine`. */
export function readSpec(file: SectionTable): MachineSpec {
  return specFromState(file.section("spec", "spec", VERSION));
}

/**
 * Precondition: the machine is fresh ("created") and its RAM is zero. It is paused afterwards. Throws StateError; if
 * a part of the state is in the machine by then, it is "crashed".
 */
export function restoreMachine(machine: Machine, source: StateSource | StateFile): void {
  const file = source instanceof StateFile ? source : StateFile.open(source);
  restoreParts(machine, file, () => file.readMemory(machine.memory));
}

function restoreParts(machine: Machine, file: SectionTable, readMemory: () => void): void {
  requireSameSpec(machine.spec, readSpec(file));
  const vcpus = machine.vcpus.map((_, index) => {
    const name = `vcpu${index}`;
    const version = file.versionOf(name, VCPU_SCHEMA.version);
    return vcpuFromState(file.section(name, VCPU_SCHEMA.id, version), name, version);
  });
  const isOne = vcpus.length === 1;
  const turns = isOne
    ? undefined
    : processorsFromState(file.section("processors", "processors", VERSION), vcpus.length);
  const events = new StateReader(file.section("events", "events", VERSION), "events");
  const eventCount = events.int("count", 0, Number.MAX_SAFE_INTEGER);
  const skips = events.int("skips", 0, Number.MAX_SAFE_INTEGER);
  events.end();
  const clock = file.section("clock", "clock", VERSION);
  const random = file.section("random", "random", VERSION);
  const saved = machine.board.devices.filter(
    ({ name, isNewerThanStates }) => !isNewerThanStates || file.has(`device/${name}`),
  );
  const devices = saved.map((device) => ({
    device,
    state: file.section(`device/${device.name}`, device.schema.id, device.schema.version),
  }));
  file.end();

  try {
    readMemory();
    for (const [index, state] of vcpus.entries()) machine.vcpus[index]?.setState(state);
    if (turns) machine.processors.restore(turns);
    machine.clock.restore(clock);
    machine.random.restore(random);
    for (const { device, state } of devices) device.restore(state);
  } catch (error) {
    machine.abandon("restoring a saved state failed half-way");
    throw error;
  }
  machine.restored({ retired: machine.retired, skips }, eventCount);
}

const processorsToState = ({ current, turnLeft, waiting }: ProcessorsState): StateValue => ({
  current,
  turnLeft,
  waiting: waiting.map((isWaiting) => (isWaiting ? 1 : 0)),
});

function processorsFromState(state: StateValue, count: number): ProcessorsState {
  const reader = new StateReader(state, "processors");
  const current = reader.int("current", 0, count - 1);
  const turnLeft = reader.int("turnLeft", 1, MAX_TURN);
  const waiting = reader.ints("waiting", count, 0, 1).map((flag) => flag === 1);
  reader.end();
  return { current, turnLeft, waiting };
}

function requireSameSpec(own: MachineSpec, saved: MachineSpec): void {
  const ours = specToState(own) as { readonly [key: string]: StateValue };
  const theirs = specToState(saved) as { readonly [key: string]: StateValue };
  // A machine with one processor has no field for that.
  for (const field of new Set([...Object.keys(ours), ...Object.keys(theirs)])) {
    const [left, right] = [encodeState(ours[field] ?? null), encodeState(theirs[field] ?? null)];
    if (left.length === right.length && left.every((byte, i) => byte === right[i])) continue;
    throw new StateError(
      "foreign",
      `spec.${field}`,
      `The state belongs to another machine: its ${field} differs. Restore it into a machine that is built from the state's own spec.`,
    );
  }
}
