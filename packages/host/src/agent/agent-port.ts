/**
 * What the agent's client needs of a machine: named, ordered, flow-controlled byte streams. Twinmetal's own machine
 * gives them as ports of one virtio-console device (VIRTIO 1.2, section 5.3, VIRTIO_CONSOLE_F_MULTIPORT); anything
 * else that keeps these rules will do.
 */

/** One port, seen from the host. The client is the only user of a port and assigns the three listeners. */
export interface AgentPort {
  /** Bytes from the guest. Not called between setFlow(false) and setFlow(true). The listener may keep the array. */
  onData: ((bytes: Uint8Array) => void) | undefined;
  /** A program in the guest opened or closed its side. A transport that cannot tell never calls them. */
  onGuestOpen: (() => void) | undefined;
  onGuestClose: (() => void) | undefined;

  /** Makes the host's side present (VIRTIO_CONSOLE_PORT_OPEN with value 1). Opening an open port does nothing. */
  open(): void;
  /**
   * Resolves when the port takes more. Bytes are kept until the guest reads them, except that those written while no
   * program in the guest has the port open may be lost. Rejects, or resolves with nothing delivered, once closed.
   */
  write(bytes: Uint8Array): Promise<void>;
  /**
   * Makes the host's side absent (VIRTIO_CONSOLE_PORT_OPEN with value 0): the guest reads end of file.
   * "delivered": only after the guest has received every byte written before. "now": undelivered bytes are dropped.
   * Both settle pending writes in the end, "now" at once.
   */
  close(when: "delivered" | "now"): void;
  /** Stops and restarts the flow from the guest. A guest that writes to a stopped port waits. */
  setFlow(isFlowing: boolean): void;
}

export interface AgentPorts {
  /** The port of that name, always the same object. */
  port(name: string): AgentPort;
}

export const AGENT_SLOTS = 4;
export const CONTROL_PORT = "twinmetal.ctl";

/** Every port the agent knows, in the order in which a device should number them. */
export const AGENT_PORT_NAMES: readonly string[] = [
  CONTROL_PORT,
  ...Array.from({ length: AGENT_SLOTS }, (_, slot) => [inPort(slot), outPort(slot), errPort(slot)]).flat(),
];

export function inPort(slot: number): string {
  return `twinmetal.in.${slot}`;
}

export function outPort(slot: number): string {
  return `twinmetal.out.${slot}`;
}

export function errPort(slot: number): string {
  return `twinmetal.err.${slot}`;
}
