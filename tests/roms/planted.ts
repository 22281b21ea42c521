// Bugs planted in the routines of system mode, one at a time: a check that is never made (a fault that is never raised),
// a fault with another vector, a field of the state that is not written. Each is found by walking a routine's statements, so
// the list follows the code.

import * as L from "../../packages/core/src/cpu/layout.ts";
import { EXC_VECTOR, SEGMENTS } from "../../packages/core/src/cpu/layout.ts";
import type { JitEngineOptions } from "../../packages/core/src/engine/jit-engine.ts";
import { type Core, coreExports, createCore, handlerSet } from "../../packages/core/src/interp/core.ts";
import type { Routine, RoutineBody, Statement } from "../../packages/core/src/ir/types.ts";

/** Routines by name whose mistakes only ROMs can see. */
const SYSTEM_ROUTINES: readonly RegExp[] = [
  /^(far_transfer|transfer_real|transfer_to_system|through_call_gate)$/,
  /^(return_to|check_return_code|return_real|return_to_v86|return_to_task|far_return|interrupt_return)$/,
  /^(switch_task|load_task_\w+)$/,
  /^(deliver_real|deliver_protected|deliver_long|check_v86_interrupt|fetch_inner_stack)$/,
  /^(load_segment|check_data|fetch_stack|fetch_descriptor_for|drop_segments|check_port)$/,
];

/**
 * What nobody can see, because another check on the way raises the same fault: a null selector's descriptor is of no type,
 * a table that is not there has no limit, code beyond the limit faults when it is fetched, and a stack too small in real
 * mode ends in shutdown either way. An error code without room is a double fault, whatever the second fault was.
 */
const SAME_FAULT: readonly RegExp[] = [
  /^(far_transfer|check_return_code|through_call_gate|switch_task|load_task_ldt) never makes check 1 of/,
  /^load_task_code_and_stack never makes check [14] of/,
  /^(fetch_inner_stack|deliver_long|deliver_protected) never makes check 5 of/,
  /^switch_task never makes check [67] of/,
  /^(deliver_real|transfer_real) never makes check 2 of/,
];

export interface PlantedBug {
  readonly name: string;
  /** Makes the routine wrong until the returned function is called. */
  plant(): () => void;
}

/** Every routine that the core module has, by name. */
function allRoutines(): Map<string, Routine> {
  const found = new Map<string, Routine>();
  const visit = (routine: Routine): void => {
    if (found.has(routine.name) || !routine.body) return;
    found.set(routine.name, routine);
    for (const called of calledBy(routine.body().statements)) visit(called);
  };
  const handlers = handlerSet();
  for (const routine of Object.values(coreExports(handlers))) visit(routine);
  for (const { routine } of handlers.table) visit(routine);
  return found;
}

function* calledBy(statements: readonly Statement[]): Iterable<Routine> {
  for (const statement of statements) {
    if (statement.kind === "call") yield statement.routine;
    for (const inner of listsOf(statement)) yield* calledBy(inner);
  }
}

function listsOf(statement: Statement): readonly (readonly Statement[])[] {
  switch (statement.kind) {
    case "if":
      return [statement.yes, statement.no];
    case "block":
      return [statement.body];
    case "switch":
      return [...statement.cases, statement.otherwise];
    default:
      return [];
  }
}

const raises = (statements: readonly Statement[]): boolean =>
  statements.some((s) => s.kind === "store" && s.space === "cpu" && s.offset === EXC_VECTOR.offset);

/** State whose loss has to show: segments, RIP, RSP, CPL, flags, CR0, CR3. */
const VISIBLE: ReadonlySet<number> = new Set(
  [L.RIP, L.RSP, L.CPL, L.SYSTEM_FLAGS, L.CR0, L.CR3, L.CR4].map(({ offset }) => offset),
);
const isVisibleStore = (s: Statement): boolean =>
  s.kind === "store" &&
  s.space === "cpu" &&
  (VISIBLE.has(s.offset) || (s.offset >= SEGMENTS && s.offset < SEGMENTS + 256));

/** A place where a statement stands, as a path of list and index. */
type Change = (statement: Statement) => Statement[] | undefined;

/** The routine's statements with the `wanted`-th change made; how many changes there are. */
function change(statements: readonly Statement[], wanted: number, how: Change): { made: Statement[]; count: number } {
  let count = 0;
  const walk = (list: readonly Statement[]): Statement[] =>
    list.flatMap((statement) => {
      const instead = how(statement);
      if (instead && count++ === wanted) return instead;
      switch (statement.kind) {
        case "if":
          return [{ ...statement, yes: walk(statement.yes), no: walk(statement.no) }];
        case "block":
          return [{ ...statement, body: walk(statement.body) }];
        case "switch":
          return [{ ...statement, cases: statement.cases.map(walk), otherwise: walk(statement.otherwise) }];
        default:
          return [statement];
      }
    });
  return { made: walk(statements), count };
}

const CHANGES: readonly (readonly [string, Change])[] = [
  ["never makes check", (s) => (s.kind === "if" && raises(s.yes) ? s.no : undefined)],
  ["does not write", (s) => (isVisibleStore(s) ? [] : undefined)],
];

export function plantedBugs(): PlantedBug[] {
  const bugs: PlantedBug[] = [];
  const push = (bug: PlantedBug): void => {
    if (!SAME_FAULT.some((pattern) => pattern.test(bug.name))) bugs.push(bug);
  };
  for (const routine of allRoutines().values()) {
    if (!SYSTEM_ROUTINES.some((pattern) => pattern.test(routine.name)) || !routine.body) continue;
    const right = routine.body();
    for (const [what, how] of CHANGES) {
      const { count } = change(right.statements, -1, how);
      for (let i = 0; i < count; i++)
        push({
          name: `${routine.name} ${what} ${i + 1} of ${count}`,
          plant: () => plant(routine, { ...right, statements: change(right.statements, i, how).made }),
        });
    }
  }
  return bugs;
}

function plant(routine: Routine, wrong: RoutineBody): () => void {
  const target = routine as { body: (() => RoutineBody) | undefined };
  const right = target.body;
  target.body = () => wrong;
  return () => {
    target.body = right;
  };
}

/** `createCore` of a module compiled while a bug is planted, for every machine that asks. */
export function plantedCore(bug: PlantedBug): NonNullable<JitEngineOptions["createCore"]> {
  const table = [...handlerSet().table];
  const remove = bug.plant();
  const create = (...args: Parameters<typeof createCore>): Core => {
    const [ramBytes, host, shared, handlers, romBytes] = args;
    return createCore(ramBytes, host, shared, { ...(handlers ?? handlerSet()), table }, romBytes);
  };
  try {
    // The module is compiled with the first core and kept for the table.
    create(1 << 20, NO_HOST, false);
  } finally {
    remove();
  }
  return create;
}

const NO_HOST = {
  mmioRead: () => {},
  mmioWrite: () => {},
  portRead: () => 0,
  portWrite: () => {},
  readMsr: () => 1,
  writeMsr: () => 1,
  readTsc: () => 0n,
  cpuid: () => {},
} as unknown as Parameters<typeof createCore>[1];
