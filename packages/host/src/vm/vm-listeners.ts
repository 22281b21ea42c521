/** Who listens to a VM's events. */
import type { VmEvents } from "./vm.ts";

type Listener<K extends keyof VmEvents> = (...args: VmEvents[K]) => void;

export class VmListeners {
  readonly #listeners: { readonly [K in keyof VmEvents]: Set<Listener<K>> } = {
    state: new Set(),
    disk: new Set(),
    network: new Set(),
    debug: new Set(),
    watchdog: new Set(),
    exit: new Set(),
  };

  /** Returns what ends it. The same function may listen twice. */
  on<K extends keyof VmEvents>(event: K, listener: Listener<K>): () => void {
    const own: Listener<K> = (...args) => listener(...args);
    this.#listeners[event].add(own);
    return () => void this.#listeners[event].delete(own);
  }

  /** Those that there are now. */
  emit<K extends keyof VmEvents>(event: K, ...args: VmEvents[K]): void {
    for (const listener of [...this.#listeners[event]]) listener(...args);
  }
}
