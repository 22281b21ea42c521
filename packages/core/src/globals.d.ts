// The part of the WebAssembly JavaScript interface (W3C, core specification 2.0, "JS API") that this
// project uses, declared by hand: the core compiles with neither DOM nor Node types, so that a wrong
// import or a browser-only call is a compile error. The host and the command line take these
// declarations too; Node's own types have none. Left out: Table growth, Exception, Tag, streaming
// compilation. A consumer's DOM library has all of these, so this file is not published.

declare namespace WebAssembly {
  type ImportExportKind = "function" | "global" | "memory" | "table" | "tag";
  type ValueType = "i32" | "i64" | "f32" | "f64" | "v128" | "anyfunc" | "externref";
  // biome-ignore lint/suspicious/noExplicitAny: the JS API itself gives exports of any callable signature.
  type ExportedFunction = (...args: any[]) => any;
  type ExportValue = ExportedFunction | Global | Memory | Table;
  type ImportValue = ExportValue | number | bigint;
  type Exports = Record<string, ExportValue>;
  type Imports = Record<string, Record<string, ImportValue>>;
  type BytesSource = ArrayBufferLike | ArrayBufferView;

  interface ModuleExportDescriptor {
    name: string;
    kind: ImportExportKind;
  }
  interface ModuleImportDescriptor extends ModuleExportDescriptor {
    module: string;
  }

  interface Module {
    readonly [Symbol.toStringTag]: "WebAssembly.Module";
  }
  const Module: {
    prototype: Module;
    new (bytes: BytesSource): Module;
    exports(module: Module): ModuleExportDescriptor[];
    imports(module: Module): ModuleImportDescriptor[];
    customSections(module: Module, name: string): ArrayBuffer[];
  };

  interface Instance {
    readonly exports: Exports;
  }
  const Instance: {
    prototype: Instance;
    new (module: Module, imports?: Imports): Instance;
  };

  interface MemoryDescriptor {
    initial: number;
    maximum?: number;
    shared?: boolean;
  }
  /** `buffer` is a SharedArrayBuffer exactly when the memory was made with `shared: true`. */
  interface Memory {
    readonly buffer: ArrayBuffer | SharedArrayBuffer;
    grow(deltaPages: number): number;
  }
  const Memory: {
    prototype: Memory;
    new (descriptor: MemoryDescriptor): Memory;
  };

  interface TableDescriptor {
    element: "anyfunc" | "externref";
    initial: number;
    maximum?: number;
  }
  interface Table {
    readonly length: number;
    get(index: number): ExportedFunction | null;
    set(index: number, value?: ExportedFunction | null): void;
    grow(delta: number, value?: ExportedFunction | null): number;
  }
  const Table: {
    prototype: Table;
    new (descriptor: TableDescriptor, value?: ExportedFunction | null): Table;
  };

  interface GlobalDescriptor {
    value: ValueType;
    mutable?: boolean;
  }
  interface Global {
    // biome-ignore lint/suspicious/noExplicitAny: number, bigint, function or reference, by the global's type.
    value: any;
  }
  const Global: {
    prototype: Global;
    new (descriptor: GlobalDescriptor, value?: number | bigint): Global;
  };

  interface CompileError extends Error {}
  const CompileError: { prototype: CompileError; new (message?: string): CompileError };
  interface LinkError extends Error {}
  const LinkError: { prototype: LinkError; new (message?: string): LinkError };
  interface RuntimeError extends Error {}
  const RuntimeError: { prototype: RuntimeError; new (message?: string): RuntimeError };

  function validate(bytes: BytesSource): boolean;
  function compile(bytes: BytesSource): Promise<Module>;
  function instantiate(module: Module, imports?: Imports): Promise<Instance>;
}
