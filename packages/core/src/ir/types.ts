/**
 * The intermediate language in which instruction semantics and CPU routines are written.
 *
 * Expressions are pure trees over WebAssembly's own operators (the names are those of the WebAssembly specification,
 * section 4.3), statements are structured control flow. Everything that reads memory or calls is a statement that binds
 * a local, so the order of effects is the order in which statements were made. Back-ends: ir/compile.ts (WebAssembly),
 * ir/evaluate.ts (the reference evaluator).
 */
export type ValueType = "i32" | "i64" | "f32" | "f64" | "v128";

/** Which base address a memory access counts from: this vCPU's state block, or the start of the WebAssembly memory. */
export type Space = "cpu" | "host";

export interface Local {
  readonly type: ValueType;
  /** Assigned more than once (`Builder.variable`); a plain `let` never is. */
  readonly mutable: boolean;
  /** Grows with each assignment at build time; an expression that read an older value is refused. */
  version: number;
  /** Back-end's, while it compiles a function (ir/locals.ts); else -1. */
  index: number;
}

export interface Label {
  readonly kind: "block" | "loop";
}

/** A table of translated addresses, direct-mapped: an entry has a tag of 64 bits, and what to add for the host address. */
export interface AddressTable {
  /** From an address to its entry's offset: shifted right, then masked. */
  readonly shift: number;
  readonly mask: number;
  /** Offsets in an entry. */
  readonly tag: number;
  readonly addend: number;
  /** A tag is the address shifted right by this. */
  readonly pageBits: number;
}

export type Statement =
  | { readonly kind: "let"; readonly local: Local; readonly value: Node }
  | {
      readonly kind: "load";
      readonly local: Local;
      readonly op: string;
      readonly space: Space;
      readonly address: Node;
      readonly offset: number;
    }
  | {
      readonly kind: "store";
      readonly op: string;
      readonly space: Space;
      readonly address: Node;
      readonly offset: number;
      readonly value: Node;
    }
  | {
      readonly kind: "call";
      readonly routine: Routine;
      readonly args: readonly Node[];
      readonly local: Local | undefined;
    }
  | { readonly kind: "callTable"; readonly index: Node; readonly args: readonly Node[]; readonly local: Local }
  | {
      readonly kind: "if";
      readonly condition: Node;
      readonly likely: boolean | undefined;
      readonly yes: Statement[];
      readonly no: Statement[];
    }
  | {
      readonly kind: "block";
      readonly label: Label;
      readonly body: Statement[];
      /**
       * Nothing branches to the label, control never comes out of the body's end, and nothing in it reads locals of the
       * lists around it but the outermost's.
       */
      readonly isIsolated?: boolean;
    }
  | {
      /**
       * Host address (i32) of `bytes` at an address: from the table at `table`, or what `slow` answers to the address and
       * `bytes`. Where that is 0, `failed` runs, which does not come to its end. Address and table are leaves.
       */
      readonly kind: "access";
      readonly local: Local;
      readonly layout: AddressTable;
      readonly table: Node;
      readonly address: Node;
      readonly bytes: number;
      readonly slow: Routine;
      readonly failed: Statement[];
    }
  | { readonly kind: "br"; readonly label: Label; readonly condition: Node | undefined }
  | {
      readonly kind: "switch";
      readonly index: Node;
      readonly cases: readonly Statement[][];
      readonly otherwise: Statement[];
    }
  | { readonly kind: "return"; readonly value: Node | undefined }
  | { readonly kind: "copy"; readonly to: Node; readonly from: Node; readonly bytes: Node }
  | { readonly kind: "fill"; readonly to: Node; readonly value: Node; readonly bytes: Node }
  /** What other threads see as one access, at an aligned host address; "atomic.fence" has no address. */
  | {
      readonly kind: "atomic";
      readonly local: Local | undefined;
      readonly op: AtomicOp;
      readonly args: readonly Node[];
    };

export type AtomicOp =
  | "atomic.fence"
  | "i32.atomic.rmw8.cmpxchg_u"
  | "i32.atomic.rmw16.cmpxchg_u"
  | "i32.atomic.rmw.cmpxchg"
  | "i64.atomic.rmw.cmpxchg";

export type Node =
  | { readonly kind: "const"; readonly type: ValueType; readonly value: number | bigint }
  /** Address of a table that each vCPU has its own of: where the first one has it. Never folded into constants. */
  | { readonly kind: "own"; readonly type: "i32"; readonly value: number }
  | { readonly kind: "local"; readonly type: ValueType; readonly local: Local; readonly version: number }
  | {
      readonly kind: "op";
      readonly type: ValueType;
      readonly op: string;
      readonly args: readonly Node[];
      readonly immediate?: number | bigint;
    }
  | {
      readonly kind: "select";
      readonly type: ValueType;
      readonly condition: Node;
      readonly yes: Node;
      readonly no: Node;
    };

/** A named function of the CPU: see ir/routine.ts. */
export interface Routine {
  readonly name: string;
  readonly params: readonly ValueType[];
  readonly result: ValueType | undefined;
  /** Undefined: an import, supplied by the host. */
  readonly body: (() => RoutineBody) | undefined;
}

export interface RoutineBody {
  readonly locals: readonly Local[];
  readonly statements: Statement[];
  /** A constant of the body that depends on the WebAssembly locals: their types, parameters first. i32, below 2^20. */
  readonly late?: { readonly node: Node; readonly value: (types: readonly ValueType[]) => number };
}

/** A mistake in a record or routine, found while it is built: a bug of this program, never of a guest. */
export class IrError extends Error {
  readonly code = "ir-invalid";
}
