/**
 * RAM that stands for firmware's ROM below 1 MiB and keeps what it holds when the guest stores, on the jit engine: 16 parts of
 * 16 KiB, as the chipset's PAM registers divide it (bus/pci/host-bridge.ts). A part's pages are treated as ROM's: all granules
 * of code set, so that no store goes without a look, which leads it to the bus (cpu/access.ts). Stores of devices and debuggers come through.
 */
import * as L from "../cpu/layout.ts";
import { shadowPages } from "../interp/block-decoder.ts";
import type { WriteTags } from "./write-tags.ts";

export class ShadowProtection {
  readonly #view: DataView;
  readonly #map: L.MemoryMap;
  readonly #writeTags: WriteTags;
  readonly #codeWritten: (host: number, length: number) => void;

  /** `codeWritten`: nothing that was decoded or translated from there holds any more. */
  constructor(
    view: DataView,
    map: L.MemoryMap,
    writeTags: WriteTags,
    codeWritten: (host: number, length: number) => void,
  ) {
    this.#view = view;
    this.#map = map;
    this.#writeTags = writeTags;
    this.#codeWritten = codeWritten;
  }

  /** Bit n: 16 KiB at 0xC0000 + n * 16 KiB. Within a device's access, or between runs; of vCPUs in parallel while they rest. */
  set(parts: number): void {
    const before = this.#view.getInt32(L.SHADOW_PROTECTED, true);
    if (parts === before) return;
    this.#view.setInt32(L.SHADOW_PROTECTED, parts, true);
    const { pageGranules, ram } = this.#map;
    const closed = shadowPages(this.#map, parts & ~before);
    for (const page of closed) this.#view.setBigInt64(pageGranules + page * 8, -1n, true);
    if (closed.length > 0) this.#writeTags.drop();
    for (const page of shadowPages(this.#map, before & ~parts)) this.#codeWritten(ram + page * 4096, 4096);
  }
}
