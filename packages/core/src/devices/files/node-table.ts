/**
 * The files that a guest knows, and those that it has open: numbers, the names under which the server finds them again, and how
 * often the guest holds each. All of it is the device's, so the server keeps nothing that a saved state would need.
 *
 * Bounded: beyond MAX_NODES the one that was used least recently and holds nothing is dropped; whoever names it afterwards gets
 * ESTALE, and a guest looks the name up again. Names follow what the guest itself renames and removes; what others change on
 * the host shows when the server finds another identity there.
 */
import type { StateReader } from "../../state/reader.ts";
import type { StateValue } from "../device.ts";
import { FILE_LIMITS } from "./file-channel.ts";
import {
  ACCESSES,
  byteString,
  type FileAccessMode,
  type FileNode,
  isFileName,
  type OpenFile,
  readIdentity,
} from "./file-requests.ts";

const MAX_NODES = 131_072;
const MAX_HANDLES = 1024;
const MAX_NUMBER = Number.MAX_SAFE_INTEGER - 1;
/** Looked at for one to drop. */
const MAX_TRIES = 64;
export const ROOT = 1;

interface Node {
  readonly number: number;
  readonly identity: string;
  /** Undefined: the name is gone. */
  parent: Node | undefined;
  name: string;
  /** How often the guest holds it. */
  references: number;
  children: number;
  handles: number;
}

interface Handle {
  readonly node: Node;
  readonly access: FileAccessMode;
  readonly isDirectory: boolean;
}

export class NodeTable {
  /** In the order of their last use. */
  readonly #nodes = new Map<number, Node>();
  readonly #byIdentity = new Map<string, Node>();
  readonly #byName = new Map<string, Node>();
  readonly #handles = new Map<number, Handle>();
  #root: Node;
  /** Of nodes and handles. Never falls, so that a server cannot take one for another. */
  #nextNumber: number = ROOT + 1;

  constructor() {
    this.#root = this.#plant();
  }

  get size(): number {
    return this.#nodes.size;
  }

  get handleCount(): number {
    return this.#handles.size;
  }

  /** The guest starts anew. */
  clear(): void {
    this.#nodes.clear();
    this.#byIdentity.clear();
    this.#byName.clear();
    this.#handles.clear();
    this.#root = this.#plant();
  }

  has(number: number): boolean {
    return this.#nodes.has(number);
  }

  /** Undefined: not known, or not any more. */
  node(number: number): FileNode | undefined {
    const node = this.#nodes.get(number);
    if (!node) return undefined;
    this.#used(node);
    return { number, path: pathOf(node), identity: node.identity };
  }

  parentOf(number: number): number {
    return this.#nodes.get(number)?.parent?.number ?? ROOT;
  }

  /** Empty: the folder, or a name that is gone. */
  nameOf(number: number): string {
    return this.#nodes.get(number)?.name ?? "";
  }

  /** The number of what this name is known as; 0: nothing. */
  child(parent: number, name: string): number {
    return this.#byName.get(nameKey(parent, name))?.number ?? 0;
  }

  /** What the server found under a name; the guest holds it once more. Undefined: the table is full. */
  enter(parent: number, name: string, identity: string): number | undefined {
    const above = this.#nodes.get(parent);
    if (!above || !isFileName(name)) return undefined;
    const known = identity === "" ? undefined : this.#byIdentity.get(identity);
    if (known && known !== this.#root) {
      this.#place(known, above, name);
      known.references++;
      this.#used(known);
      return known.number;
    }
    if (!this.#makeRoom(above) || this.#nextNumber >= MAX_NUMBER) return undefined;
    const node = { number: this.#nextNumber++, identity, parent: undefined, name: "", references: 1 };
    const added: Node = { ...node, children: 0, handles: 0 };
    this.#nodes.set(added.number, added);
    this.#byIdentity.set(identity, added);
    this.#place(added, above, name);
    return added.number;
  }

  /** Held once more. */
  hold(number: number): void {
    const node = this.#nodes.get(number);
    if (node && node !== this.#root) node.references++;
  }

  forget(number: number, count: number): void {
    const node = this.#nodes.get(number);
    if (!node || node === this.#root) return;
    node.references = Math.max(0, node.references - count);
    this.#sweep(node);
  }

  renamed(parent: number, name: string, newParent: number, newName: string): void {
    const node = this.#byName.get(nameKey(parent, name));
    const above = this.#nodes.get(newParent);
    if (node && above) this.#place(node, above, newName);
    else this.removed(newParent, newName);
  }

  removed(parent: number, name: string): void {
    const node = this.#byName.get(nameKey(parent, name));
    if (node) this.#detach(node);
  }

  /** A number for a file that is about to be opened; 0: too many are. */
  reserveHandle(): number {
    if (this.#handles.size >= MAX_HANDLES || this.#nextNumber >= MAX_NUMBER) return 0;
    return this.#nextNumber++;
  }

  /** False: too many are open. */
  opened(handle: number, number: number, access: FileAccessMode, isDirectory: boolean): boolean {
    const node = this.#nodes.get(number);
    if (!node || this.#handles.has(handle) || this.#handles.size >= MAX_HANDLES) return false;
    this.#handles.set(handle, { node, access, isDirectory });
    node.handles++;
    return true;
  }

  /** Undefined: no such open file or directory. */
  open(handle: number, isDirectory: boolean): OpenFile | undefined {
    const open = this.#handles.get(handle);
    if (open?.isDirectory !== isDirectory) return undefined;
    const { node, access } = open;
    return { node: { number: node.number, path: pathOf(node), identity: node.identity }, handle, access };
  }

  /** Where a node's name is gone: an open file of it. 0: none. */
  handleOf(number: number): number {
    const node = this.#nodes.get(number);
    if (!node || node.parent !== undefined || node.handles === 0) return 0;
    for (const [handle, open] of this.#handles) if (open.node === node) return handle;
    return 0;
  }

  released(handle: number): void {
    const open = this.#handles.get(handle);
    if (!open) return;
    this.#handles.delete(handle);
    open.node.handles--;
    this.#sweep(open.node);
  }

  save(): { readonly [key: string]: StateValue } {
    return {
      nextNumber: this.#nextNumber,
      nodes: [...this.#nodes.values()].map(({ number, parent, name, identity, references }) => ({
        number,
        parent: parent?.number ?? 0,
        name,
        identity,
        references,
      })),
      handles: [...this.#handles].map(([number, { node, access, isDirectory }]) => ({
        number,
        node: node.number,
        access,
        isDirectory,
      })),
    };
  }

  /** Throws StateError; `clear` then makes it empty. */
  restore(reader: StateReader): void {
    this.clear();
    this.#nextNumber = reader.int("nextNumber", ROOT + 1, MAX_NUMBER);
    this.#nodes.clear();
    const places: {
      readonly node: Node;
      readonly parent: number;
      readonly name: string;
      readonly reader: StateReader;
    }[] = [];
    for (const saved of reader.array("nodes", MAX_NODES + 1)) {
      const number = saved.int("number", ROOT, this.#nextNumber - 1);
      const parent = saved.int("parent", 0, this.#nextNumber - 1);
      const name = byteString(saved, "name", FILE_LIMITS.nameBytes);
      const identity = readIdentity(saved);
      const references = saved.int("references", 0, Number.MAX_SAFE_INTEGER);
      saved.end();
      if (this.#nodes.has(number)) throw saved.invalid("number", "is another node's");
      if (this.#byIdentity.has(identity)) throw saved.invalid("identity", "is another node's");
      const isRoot = number === ROOT;
      if (isRoot !== (identity === "") || (isRoot && (parent !== 0 || references !== 0))) {
        throw saved.invalid("number", "is the folder's, or none of its");
      }
      if (parent === 0 ? name !== "" : !isFileName(name)) throw saved.invalid("name", "is no name of a file");
      const node: Node = { number, identity, parent: undefined, name: "", references, children: 0, handles: 0 };
      if (isRoot) this.#root = node;
      this.#nodes.set(number, node);
      if (!isRoot) this.#byIdentity.set(identity, node);
      places.push({ node, parent, name, reader: saved });
    }
    if (!this.#nodes.has(ROOT)) throw reader.invalid("nodes", "have no folder");
    for (const { node, parent, name, reader: saved } of places) {
      if (parent === 0) continue;
      const above = this.#nodes.get(parent);
      if (!above) throw saved.invalid("parent", "is no node");
      if (this.#byName.has(nameKey(parent, name))) throw saved.invalid("name", "is another node's");
      this.#place(node, above, name);
    }
    for (const saved of reader.array("handles", MAX_HANDLES)) {
      const number = saved.int("number", ROOT + 1, this.#nextNumber - 1);
      const node = this.#nodes.get(saved.int("node", ROOT, this.#nextNumber - 1));
      const access = saved.oneOf("access", ACCESSES);
      const isDirectory = saved.bool("isDirectory");
      saved.end();
      if (!node || this.#handles.has(number)) throw saved.invalid("number", "is no open file");
      this.#handles.set(number, { node, access, isDirectory });
      node.handles++;
    }
    for (const { node, reader: saved } of places) {
      if (node !== this.#root && node.references + node.children + node.handles === 0)
        throw saved.invalid("references", "are none, so that the node would not be there");
    }
  }

  #plant(): Node {
    const root = { number: ROOT, identity: "", parent: undefined, name: "", references: 0, children: 0, handles: 0 };
    this.#nodes.set(ROOT, root);
    return root;
  }

  #used(node: Node): void {
    this.#nodes.delete(node.number);
    this.#nodes.set(node.number, node);
  }

  #place(node: Node, parent: Node, name: string): void {
    const key = nameKey(parent.number, name);
    const before = this.#byName.get(key);
    if (before === node) return;
    parent.children++;
    if (before) this.#detach(before);
    this.#unname(node);
    node.parent = parent;
    node.name = name;
    this.#byName.set(key, node);
  }

  /** The name is gone; what the guest holds stays. */
  #detach(node: Node): void {
    this.#unname(node);
    this.#sweep(node);
  }

  #unname(node: Node): void {
    const parent = this.#unlink(node);
    if (parent) this.#sweep(parent);
  }

  /** Takes the name away. The folder that it was in; undefined: it had none. */
  #unlink(node: Node): Node | undefined {
    const { parent, name } = node;
    if (!parent) return undefined;
    this.#byName.delete(nameKey(parent.number, name));
    node.parent = undefined;
    node.name = "";
    parent.children--;
    return parent;
  }

  /** What nothing holds any more goes, and so may the folders above: as many as the guest has nested, so not by recursion. */
  #sweep(node: Node): void {
    let at: Node | undefined = node;
    while (at && at !== this.#root && at.references + at.children + at.handles === 0) at = this.#remove(at);
  }

  /** The folder that it was in. */
  #remove(node: Node): Node | undefined {
    if (!this.#nodes.delete(node.number)) return undefined;
    this.#byIdentity.delete(node.identity);
    return this.#unlink(node);
  }

  #drop(node: Node): void {
    const parent = this.#remove(node);
    if (parent) this.#sweep(parent);
  }

  #makeRoom(kept: Node): boolean {
    if (this.#nodes.size < MAX_NODES) return true;
    const oldest: Node[] = [];
    for (const node of this.#nodes.values()) {
      if (node !== this.#root && node !== kept && node.children + node.handles === 0) {
        this.#drop(node);
        return true;
      }
      if (oldest.push(node) >= MAX_TRIES) break;
    }
    // All in use: they wait behind the others for the next time.
    for (const node of oldest) this.#used(node);
    return false;
  }
}

function nameKey(parent: number, name: string): string {
  return `${parent}/${name}`;
}

/** Null: a name on the way is gone, or the path is longer than any host's. */
function pathOf(node: Node): readonly string[] | null {
  const path: string[] = [];
  let bytes = 0;
  for (let at = node; at.number !== ROOT; at = at.parent) {
    if (!at.parent) return null;
    bytes += at.name.length + 1;
    if (bytes > FILE_LIMITS.pathBytes) return null;
    path.push(at.name);
  }
  return path.reverse();
}
