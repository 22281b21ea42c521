/**
 * System calls about the process itself, through koffi as koffi-calls.ts: what a process gives up before it runs a VM
 * (../sandbox). Rare, so one general call; the numbers and layouts are the callers'.
 */
import { type Koffi, loadKoffi, type NoCalls } from "./koffi-calls.ts";

/** A number, or memory that the kernel reads and writes during the call. */
export type CallArgument = number | bigint | Uint8Array;

export interface ProcessCalls {
  /** Any system call with up to five arguments: its result, or -errno. */
  call(number: number, ...args: readonly CallArgument[]): number;
  /**
   * Groups and users of all threads of the process: a system call changes those of one thread, the C library's functions
   * all. `groups` are the supplementary ones. 0, or -errno; what came before the failure stays changed.
   */
  become(userId: number, groupId: number, groups: readonly number[]): number;
  /** This process runs another program from here on. Returns -errno where it could not, else never. */
  execute(path: string, args: readonly string[], environment: readonly string[]): number;
  /** Where the bytes lie. Precondition: they have an ArrayBuffer of their own, which does not move. */
  addressOf(bytes: Uint8Array): bigint;
}

let known: ProcessCalls | NoCalls | undefined;

/** The calls, loaded once for each thread, or why there are none. Never throws. */
export function processCalls(): ProcessCalls | NoCalls {
  if (known === undefined) {
    const koffi = loadKoffi();
    known = "detail" in koffi ? koffi : new KoffiProcessCalls(koffi);
  }
  return known;
}

const MAX_ARGUMENTS = 5;
const POINTER_BYTES = 8;

type Native = (...args: CallArgument[]) => number;

class KoffiProcessCalls implements ProcessCalls {
  readonly #koffi: Koffi;
  readonly #byShape = new Map<string, Native>();

  constructor(koffi: Koffi) {
    this.#koffi = koffi;
  }

  call(number: number, ...args: readonly CallArgument[]): number {
    const all = [...args, ...new Array<number>(MAX_ARGUMENTS).fill(0)].slice(0, MAX_ARGUMENTS);
    const types = all.map((argument) => (typeof argument === "object" ? "void *" : "long"));
    // SAFETY: numbers and addresses travel in integer registers (koffi-calls.ts); the callers give memory as large as the
    // call's description has it.
    return this.#result(this.#function("syscall", "long", ["long", ...types])(number, ...all));
  }

  become(userId: number, groupId: number, groups: readonly number[]): number {
    const list = new Uint32Array(Math.max(groups.length, 1));
    list.set(groups);
    // SAFETY: the C library reads as many groups as are said; it has all threads make the call, and ends the process
    // should one of them fail where another did not.
    const setgroups = this.#function("setgroups", "int", ["size_t", "void *"]);
    const setresgid = this.#function("setresgid", "int", ["uint32_t", "uint32_t", "uint32_t"]);
    const setresuid = this.#function("setresuid", "int", ["uint32_t", "uint32_t", "uint32_t"]);
    const asGroup = this.#result(setgroups(groups.length, new Uint8Array(list.buffer)));
    if (asGroup < 0) return asGroup;
    const inGroup = this.#result(setresgid(groupId, groupId, groupId));
    return inGroup < 0 ? inGroup : this.#result(setresuid(userId, userId, userId));
  }

  execute(path: string, args: readonly string[], environment: readonly string[]): number {
    const strings = [path, ...args, ...environment].map((text) => Buffer.from(`${text}\0`));
    const pointers = POINTER_BYTES * (args.length + 1 + environment.length + 1);
    const memory = new Uint8Array(new ArrayBuffer(strings.reduce((bytes, { length }) => bytes + length, pointers)));
    const view = new DataView(memory.buffer);
    const base = this.addressOf(memory);
    const addresses: bigint[] = [];
    let at = pointers;
    for (const bytes of strings) {
      memory.set(bytes, at);
      addresses.push(base + BigInt(at));
      at += bytes.length;
    }
    const [file, ...others] = addresses;
    const lists = [...others.slice(0, args.length), 0n, ...others.slice(args.length), 0n];
    lists.forEach((address, index) => {
      view.setBigUint64(POINTER_BYTES * index, address, true);
    });
    const environmentAt = base + BigInt(POINTER_BYTES * (args.length + 1));
    // SAFETY: strings end with a zero byte, both lists with a zero address; the memory stays until the call returns.
    return this.call(59, file!, base, environmentAt);
  }

  addressOf(bytes: Uint8Array): bigint {
    // SAFETY: reads the address only; its use is the caller's to justify.
    return this.#koffi.address(bytes);
  }

  #function(name: string, result: string, parameters: string[]): Native {
    const shape = `${name} ${parameters.join()}`;
    let found = this.#byShape.get(shape);
    if (!found) this.#byShape.set(shape, (found = this.#koffi.load(null).func(name, result, parameters) as Native));
    return found;
  }

  #result(result: number): number {
    return result === -1 ? -this.#koffi.errno() : Number(result);
  }
}
