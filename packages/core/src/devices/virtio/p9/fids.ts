/**
 * The fids of a 9P2000.L session: numbers that the guest chooses, each for a file that it knows, and after LOPEN for an open one.
 * Each holds its node in the table of nodes; that is full before the host is. A number that means nothing is EBADF.
 */
import type { StateReader } from "../../../state/reader.ts";
import type { StateValue } from "../../device.ts";
import { ERRNO } from "../../files/errno.ts";
import type { FileAccessMode, FileAttributes, FileNode, OpenFile } from "../../files/file-requests.ts";
import { NodeTable, ROOT } from "../../files/node-table.ts";
import { knownNode, Refusal } from "../share-protocol.ts";

const MAX_FIDS = 65_536;
const NO_FID = 0xffff_ffff;

export interface Fid {
  readonly node: number;
  /** 0: it is not open. */
  readonly handle: number;
  readonly isDirectory: boolean;
}

/** What is refused is thrown as Refusal. */
export class FidTable {
  readonly nodes = new NodeTable();
  readonly #fids = new Map<number, Fid>();

  clear(): void {
    this.nodes.clear();
    this.#fids.clear();
  }

  save(): { readonly [key: string]: StateValue } {
    return {
      nodes: this.nodes.save(),
      fids: [...this.#fids].map(([fid, { node, handle, isDirectory }]) => ({ fid, node, handle, isDirectory })),
    };
  }

  restore(reader: StateReader): void {
    this.#fids.clear();
    const nodes = reader.object("nodes");
    this.nodes.restore(nodes);
    nodes.end();
    for (const saved of reader.array("fids", MAX_FIDS)) {
      const fid = saved.u32("fid");
      const node = saved.int("node", ROOT, Number.MAX_SAFE_INTEGER);
      const handle = saved.int("handle", 0, Number.MAX_SAFE_INTEGER);
      const isDirectory = saved.bool("isDirectory");
      saved.end();
      if (this.#fids.has(fid) || fid === NO_FID) throw saved.invalid("fid", "is another one");
      this.#fids.set(fid, { node, handle, isDirectory });
    }
  }

  get(number: number): Fid {
    const fid = this.#fids.get(number);
    if (!fid) throw new Refusal(ERRNO.BADF);
    return fid;
  }

  node(number: number): FileNode {
    return this.nodeOf(this.get(number));
  }

  nodeOf(fid: Fid): FileNode {
    return knownNode(this.nodes, fid.node);
  }

  openFile(number: number): OpenFile {
    const fid = this.get(number);
    const open = this.nodes.open(fid.handle, fid.isDirectory);
    if (!open) throw new Refusal(ERRNO.BADF);
    return open;
  }

  requireFree(number: number): void {
    if (number === NO_FID || this.#fids.has(number)) throw new Refusal(ERRNO.BADF);
    if (this.#fids.size >= MAX_FIDS) throw new Refusal(ERRNO.NFILE);
  }

  /** That it still is what it was when a request began. */
  requireSame(number: number, fid: Fid): void {
    if (this.#fids.get(number) !== fid) throw new Refusal(ERRNO.BADF);
  }

  /** That a walk from `from` may end in it: it is free, or `from` itself and not open. */
  requireWalkable(number: number, from: Fid): void {
    const existing = this.#fids.get(number);
    if (number === NO_FID || (existing && (existing !== from || from.handle !== 0))) throw new Refusal(ERRNO.BADF);
  }

  attach(number: number): void {
    this.requireFree(number);
    this.#fids.set(number, { node: ROOT, handle: 0, isDirectory: true });
  }

  /** The fid becomes the last of what was found; those on the way stay known as long as it is. */
  enter(
    number: number,
    start: number,
    names: readonly string[],
    found: readonly FileAttributes[],
    isDirectory: boolean,
  ): void {
    let at = start;
    const held: number[] = [];
    for (const [i, name] of names.entries()) {
      const next = this.nodes.enter(at, name, found[i]!.identity);
      if (next === undefined) break;
      held.push(next);
      at = next;
    }
    const isWhole = held.length === names.length;
    if (isWhole && names.length === 0) this.nodes.hold(at);
    for (const node of isWhole ? held.slice(0, -1) : held) this.nodes.forget(node, 1);
    if (!isWhole) throw new Refusal(ERRNO.NFILE);
    const before = this.#fids.get(number);
    if (!before && this.#fids.size >= MAX_FIDS) {
      this.nodes.forget(at, 1);
      throw new Refusal(ERRNO.NFILE);
    }
    if (before) this.nodes.forget(before.node, 1);
    this.#fids.set(number, { node: at, handle: 0, isDirectory });
  }

  open(number: number, fid: Fid, handle: number, access: FileAccessMode): void {
    this.requireSame(number, fid);
    if (!this.nodes.opened(handle, fid.node, access, fid.isDirectory)) throw new Refusal(ERRNO.NFILE);
    this.#fids.set(number, { ...fid, handle });
  }

  /** Nothing happens where the number has become another one's meanwhile. */
  remove(number: number, fid: Fid): void {
    if (this.#fids.get(number) !== fid) return;
    this.#fids.delete(number);
    if (fid.handle !== 0) this.nodes.released(fid.handle);
    this.nodes.forget(fid.node, 1);
  }
}
