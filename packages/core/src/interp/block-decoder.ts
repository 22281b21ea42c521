/**
 * Blocks of micro-ops in the arena of a machine's memory (layout: cpu/layout.ts): decoded from guest code, found by the code's
 * host address and mode, and listed by page, so that a store into the code finds them.
 */
import { hashSetOf } from "../cpu/code-cache.ts";
import * as L from "../cpu/layout.ts";
import type { CodeSize } from "../isa/decoder.ts";
import type { HandlerSet } from "../isa/handlers.ts";
import { encodeMicroOp } from "../isa/micro-op.ts";

export const MAX_BLOCK_INSTRUCTIONS = 32;
const MAX_INSTRUCTION_BYTES = 15;
export const NEVER_HOT = 0x7fff_ffff;
/** So often a block has to have run to outlive others when the arena is full. */
const WARM_RUNS = 4;

/** Bits `first` to `last`, of 0 to 31. */
function granules(first: number, last: number): number {
  return (-1 << first) & (-1 >>> (31 - last));
}

/** What a decoder of one of several vCPUs in parallel tells the others. Pages are host addresses. */
export interface CodeSharing {
  /** Returns when no vCPU stores to the page unseen. Pages outside RAM are nobody's. `offset`: of code in it. */
  claim(page: number, offset: number): void;
  /** Granules `first` to `last` of a page hold code; claims it first. */
  cover(page: number, first: number, last: number): void;
  /** Own blocks of the page go. */
  forget(page: number): void;
}

/** Decodes guest code into blocks of micro-ops (layout: cpu/layout.ts) in a machine's memory. */
export class BlockDecoder {
  readonly #handlers: HandlerSet;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #map: L.MemoryMap;
  readonly #sharing: CodeSharing | undefined;
  #protect: (page: number) => void = () => {};
  #next: number;
  /** Where the micro-ops of the block that is being made lie. */
  #microOps: number[] = [];
  /** Where its next one goes. */
  #at = 0;
  /** How often the arena was full and everything was dropped. */
  flushes = 0;
  blocks = 0;
  /** Told of every new block, which it may give a region. */
  onBlock: (block: number, host: number, mode: number) => void = () => {};
  /** Told when a block has run as often as its BLOCK_HEAT said. */
  onHot: (block: number) => void = () => {};
  /** Told before all blocks are dropped. */
  onFlush: () => void = () => {};
  /** How often a new block runs until `onHot`. */
  heat = NEVER_HOT;

  constructor(handlers: HandlerSet, buffer: ArrayBufferLike, map: L.MemoryMap, sharing?: CodeSharing) {
    this.#sharing = sharing;
    this.#next = L.ARENA + map.ownShift;
    this.#handlers = handlers;
    this.#bytes = new Uint8Array(buffer);
    this.#view = new DataView(buffer);
    this.#map = map;
  }

  onProtect(protect: (page: number) => void): void {
    this.#protect = protect;
  }

  /** Drops all blocks, but, where the arena is full (`keepsWarm`), those that are on their way to get hot. */
  flush(keepsWarm = false): void {
    this.onFlush();
    const { ownShift } = this.#map;
    // What other vCPUs know of the code goes by what each has decoded itself.
    const warm = keepsWarm && !this.#sharing ? this.#warm() : [];
    this.#next = L.ARENA + ownShift;
    this.flushes++;
    fillTable(this.#bytes, L.BLOCK_HASH + ownShift, L.BLOCK_HASH_BYTES);
    fillTable(this.#bytes, L.JUMP_CACHE + ownShift, L.JUMP_CACHE_BYTES);
    // What others have decoded stays.
    if (this.#sharing) clearPageLists(this.#bytes, this.#map);
    else clearPageTables(this.#bytes, this.#map);
    for (const block of warm) this.#move(block);
  }

  /** Blocks without a region that ran a few times, and lately; in the order in which they lie there. */
  #warm(): readonly number[] {
    const v = this.#view;
    const found: number[] = [];
    let bytes = 0;
    for (const block of this.known()) {
      const left = v.getInt32(block + L.BLOCK_HEAT, true);
      const isWarm = left > 0 && left <= this.heat - WARM_RUNS && left !== v.getInt32(block + L.BLOCK_KEPT_HEAT, true);
      if (!isWarm) continue;
      bytes += v.getUint16(block + L.BLOCK_BYTES, true);
      if (bytes > L.ARENA_BYTES / 2) break;
      found.push(block);
    }
    return found.sort((a, b) => a - b);
  }

  /** A block that outlives others goes to where there is room now, which is not behind where it was. */
  #move(from: number): void {
    const v = this.#view;
    const block = this.#next;
    const size = v.getUint16(from + L.BLOCK_BYTES, true);
    this.#bytes.copyWithin(block, from, from + size);
    v.setInt32(block + L.BLOCK_KEPT_HEAT, v.getInt32(block + L.BLOCK_HEAT, true), true);
    v.setBigInt64(block + L.BLOCK_AFTER, 0n, true);
    let last = block + L.BLOCK_HEADER_BYTES;
    while (v.getUint8(last + L.UOP_LEFT) > 0) last += this.#microOpBytes(last);
    const bytes = v.getUint16(last + L.UOP_START, true) + v.getUint8(last + L.UOP_LENGTH);
    this.#next = block + size;
    this.#enter(block, v.getUint32(block + L.BLOCK_HOST, true), v.getInt32(block + L.BLOCK_MODE, true), bytes);
  }

  #microOpBytes(at: number): number {
    return this.#handlers.microOpBytes[this.#view.getUint16(at + L.UOP_HANDLER, true)] ?? L.UOP_BYTES;
  }

  /** Blocks of more than one instruction that are entered in the look-up table. */
  *known(): Iterable<number> {
    const table = L.BLOCK_HASH + this.#map.ownShift;
    for (let at = table; at < table + L.BLOCK_HASH_BYTES; at += 16) {
      const host = this.#view.getInt32(at, true);
      const mode = this.#view.getInt32(at + 4, true);
      if (host === -1 || mode & L.MODE_SINGLE) continue;
      const block = this.#view.getInt32(at + 8, true);
      const isWhole = this.#view.getInt32(block + L.BLOCK_SECOND, true) === 0;
      if (isWhole && this.#view.getInt32(block + L.BLOCK_HOST, true) === host) yield block;
    }
  }
  /** The page's host address, if it is RAM that blocks were made from; else 0. */
  holdsCode(page: number): number {
    const index = (page - this.#map.ram) / 4096;
    if (index < 0 || index >= this.#map.ramBytes / 4096) return 0;
    const at = this.#map.pageGranules + index * 8;
    return this.#view.getInt32(at, true) | this.#view.getInt32(at + 4, true) ? page : 0;
  }

  /** What a block's region was made from lies at these host addresses, too: within one page, not below RAM. */
  attach(block: number, host: number, bytes: number): void {
    const page = host & ~0xfff;
    this.#cover(page, host & 0xfff, bytes);
    if (page >>> 12 !== this.#view.getUint32(block + L.BLOCK_HOST, true) >>> 12) this.#link(block, host, true);
  }
  /** Others run in the same memory. */
  get isShared(): boolean {
    return this.#sharing !== undefined;
  }
  /** Whether `attach` has room for two pages. */
  get canAttach(): boolean {
    return this.#next + 2 * L.BLOCK_HEADER_BYTES <= this.#arenaEnd;
  }

  /** Of vCPUs in parallel: a block of bytes that were there when all others knew that there is code. */
  decodeShared(host: number, mode: number, second?: number): number {
    const sharing = this.#sharing!;
    for (;;) {
      sharing.claim((host & ~0xfff) >>> 0, host & 0xfff);
      if (second) sharing.claim((second & ~0xfff) >>> 0, second & 0xfff);
      const before = this.#codeAt(host, second);
      const block = second === undefined ? this.decodeBlock(host, mode) : this.decodeCrossing(host, mode, second);
      const after = this.#codeAt(host, second);
      if (before.every((byte, i) => byte === after[i])) return block;
      sharing.forget((host & ~0xfff) >>> 0);
    }
  }
  #codeAt(hostSigned: number, second = 0): Uint8Array {
    const host = hostSigned >>> 0;
    const pageEnd = ((host & ~0xfff) >>> 0) + 4096;
    const first = this.#bytes.slice(host, Math.min(pageEnd, host + MAX_BLOCK_INSTRUCTIONS * MAX_INSTRUCTION_BYTES));
    if (!second) return first;
    return Uint8Array.from([...first, ...this.#bytes.subarray(second >>> 0, (second >>> 0) + MAX_INSTRUCTION_BYTES)]);
  }

  static codeSize(mode: number): CodeSize {
    return mode & L.MODE_64 ? 64 : mode & L.MODE_32 ? 32 : 16;
  }

  decodeBlock(hostSigned: number, mode: number): number {
    const host = hostSigned >>> 0;
    const pageEnd = ((host & ~0xfff) >>> 0) + 4096;
    const block = this.#open();
    const { decoder } = this.#handlers;
    const size = BlockDecoder.codeSize(mode);
    const isProtected = (mode & L.MODE_PROTECTED) !== 0;
    const limit = mode & L.MODE_SINGLE ? 1 : MAX_BLOCK_INSTRUCTIONS;
    let at = host >>> 0;
    let count = 0;
    let ended = false;
    while (count < limit && !ended) {
      const status = decoder.decode(this.#bytes, at, pageEnd, size, isProtected);
      if (status === "short") {
        if (count === 0) return 0;
        break;
      }
      ended = this.#place(mode, at - host, status);
      count++;
      at += decoder.length;
    }
    if (!ended) this.#pseudo(this.#handlers.end, at - host, 0);
    return this.#close(block, host, mode, count, at - host, 0);
  }

  /** One instruction whose bytes go on at the host address `second` of another page. */
  decodeCrossing(hostSigned: number, mode: number, secondSigned: number): number {
    const host = hostSigned >>> 0;
    const second = secondSigned >>> 0;
    const block = this.#open();
    const first = 4096 - (host & 0xfff);
    const bytes = new Uint8Array(32);
    bytes.set(this.#bytes.subarray(host, host + first));
    bytes.set(this.#bytes.subarray(second, second + 15), first);
    const isProtected = (mode & L.MODE_PROTECTED) !== 0;
    const status = this.#handlers.decoder.decode(bytes, 0, 15 + 1, BlockDecoder.codeSize(mode), isProtected);
    const ended = this.#place(mode, 0, status);
    const length = this.#handlers.decoder.length;
    if (!ended) this.#pseudo(this.#handlers.end, length, 0);
    this.#cover(second & ~0xfff, second & 0xfff, Math.max(1, length - first));
    return this.#close(block, host, mode, 1, first, second);
  }

  #open(): number {
    const most = L.BLOCK_HEADER_BYTES + (MAX_BLOCK_INSTRUCTIONS + 1) * L.UOP_BYTES;
    if (this.#next + most > this.#arenaEnd) this.flush(true);
    this.#microOps.length = 0;
    this.#at = this.#next + L.BLOCK_HEADER_BYTES;
    return this.#next;
  }
  get #arenaEnd(): number {
    return L.ARENA + this.#map.ownShift + L.ARENA_BYTES;
  }

  /** Writes the next micro-op; true if it ends the block. */
  #place(mode: number, start: number, status: string): boolean {
    const { decoder } = this.#handlers;
    if (status !== "ok") {
      this.#pseudo(status === "long" ? this.#handlers.tooLong : this.#handlers.undefined, start, decoder.length);
      return true;
    }
    encodeMicroOp(decoder, this.#view, this.#at, start, 0, (mode & L.MODE_FLAT) !== 0);
    this.#placed();
    return decoder.form?.record.ends ?? false;
  }

  #pseudo(handler: number, start: number, length: number): void {
    const at = this.#at;
    this.#bytes.fill(0, at, at + L.UOP_SHORT_BYTES);
    this.#view.setUint16(at + L.UOP_HANDLER, handler, true);
    this.#view.setUint16(at + L.UOP_START, start, true);
    this.#view.setUint8(at + L.UOP_LENGTH, length);
    this.#placed();
  }
  #placed(): void {
    this.#microOps.push(this.#at);
    this.#at += this.#microOpBytes(this.#at);
  }

  #close(block: number, host: number, mode: number, count: number, bytes: number, second: number): number {
    const v = this.#view;
    for (let i = 0; i < count; i++) v.setUint8((this.#microOps[i] ?? 0) + L.UOP_LEFT, count - 1 - i);
    v.setUint16(block + L.BLOCK_COUNT, count, true);
    v.setInt32(block + L.BLOCK_SECOND, second, true);
    v.setInt32(block + L.BLOCK_HOST, host, true);
    v.setInt32(block + L.BLOCK_MODE, mode, true);
    v.setInt32(block + L.BLOCK_HEAT, mode & L.MODE_SINGLE || second ? 0 : this.heat, true);
    v.setInt32(block + L.BLOCK_PAGE_BEFORE, 0, true);
    v.setInt32(block + L.BLOCK_PAGE_AFTER, 0, true);
    v.setInt32(block + L.BLOCK_KEPT_HEAT, 0, true);
    v.setBigInt64(block + L.BLOCK_AFTER, 0n, true);
    v.setUint16(block + L.BLOCK_BYTES, this.#at - block, true);
    this.#next = this.#at;
    this.#enter(block, host, mode, bytes);
    if (second) this.#link(block, second, true);
    else if (!(mode & L.MODE_SINGLE)) this.onBlock(block, host, mode);
    this.blocks++;
    return block;
  }

  /** From now on the block is found. `bytes`: of code in its first page. */
  #enter(block: number, host: number, mode: number, bytes: number): void {
    const v = this.#view;
    const set = hashSetOf(host, mode) + this.#map.ownShift;
    this.#bytes.copyWithin(set + 16, set, set + 16 * (L.BLOCK_WAYS - 1));
    v.setInt32(set, host, true);
    v.setInt32(set + 4, mode, true);
    v.setInt32(set + 8, block, true);
    this.#cover(host & ~0xfff, host & 0xfff, bytes);
    this.#link(block, host);
  }

  /** Marks the granules of code and takes the page's write permission away. */
  #cover(pageSigned: number, offset: number, bytes: number): void {
    const page = pageSigned >>> 0;
    const index = (page - this.#map.ram) / 4096;
    if (index < 0 || index >= this.#map.ramBytes / 4096) return;
    const at = this.#map.pageGranules + index * 8;
    const last = Math.min(4095, offset + bytes - 1) >> 6;
    if (this.#sharing) {
      this.#sharing.cover(page, offset >> 6, last);
      return;
    }
    const [low, high] = [this.#view.getInt32(at, true), this.#view.getInt32(at + 4, true)];
    const first = offset >> 6;
    if (first < 32) this.#view.setInt32(at, low | granules(first, Math.min(31, last)), true);
    if (last >= 32) this.#view.setInt32(at + 4, high | granules(Math.max(32, first) - 32, last - 32), true);
    if (low === 0 && high === 0) this.#protect(page);
  }

  #link(block: number, host: number, second = false): void {
    const index = ((host >>> 12) - (this.#map.ram >>> 12)) | 0;
    if (index < 0 || index >= (this.#map.ramBytes + this.#map.romBytes) / 4096) return;
    const at = this.#map.pageLists + index * 4;
    // A crossing block is in one list only; the second page's list gets a stub of its own.
    let entry = block;
    if (second) {
      entry = this.#next;
      this.#bytes.fill(0, entry, entry + L.BLOCK_HEADER_BYTES);
      this.#view.setInt32(entry + L.BLOCK_ALIAS, block, true);
      this.#next += L.BLOCK_HEADER_BYTES;
    } else this.#view.setInt32(entry + L.BLOCK_ALIAS, block, true);
    this.#view.setInt32(entry + L.BLOCK_NEXT, this.#view.getInt32(at, true), true);
    this.#view.setInt32(at, entry, true);
  }
}

/** Nothing is found in the table. */
export function fillTable(bytes: Uint8Array, from: number, sizeBytes: number): void {
  bytes.fill(0xff, from, from + sizeBytes);
}

export function clearPageLists(bytes: Uint8Array, { pageLists, ramBytes, romBytes }: L.MemoryMap): void {
  bytes.fill(0, pageLists, pageLists + (ramBytes + romBytes) / 1024);
}

/** No block is known, no page holds code; ROM, and what stands for it, stays without write permission. */
export function clearPageTables(bytes: Uint8Array, map: L.MemoryMap): void {
  bytes.fill(0, map.pageLists, map.pageUnwritten);
  const roms = map.pageGranules + (map.ramBytes / 4096) * 8;
  bytes.fill(0xff, roms, roms + (map.romBytes / 4096) * 8);
  const shadowParts = new DataView(bytes.buffer).getInt32(L.SHADOW_PROTECTED, true);
  for (const page of shadowPages(map, shadowParts)) bytes.fill(0xff, granulesAt(map, page), granulesAt(map, page + 1));
}

const granulesAt = ({ pageGranules }: L.MemoryMap, page: number): number => pageGranules + page * 8;

/** Numbers of the pages of RAM in the parts of a mask like SHADOW_PROTECTED. */
export function shadowPages({ lowRamBytes }: L.MemoryMap, parts: number): number[] {
  const first = L.SHADOW_START / 4096;
  const pages = Array.from({ length: L.SHADOW_BYTES / 4096 }, (_, i) => first + i);
  return pages.filter((page) => page < lowRamBytes / 4096 && (parts >> ((page - first) >> 2)) & 1);
}
