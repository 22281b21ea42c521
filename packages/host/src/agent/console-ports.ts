/**
 * The agent's ports on Twinmetal's own virtio-console: turns the device's channels (data, commands, reports with
 * credit) into the streams of agent-port.ts. A port never has more on the way than the device's window, and a close
 * that has to come after the data is sent when the guest's queue has taken the last byte.
 */

import type { AgentPort, AgentPorts } from "./agent-port.ts";

export type ConsoleCommand = "open" | "close" | "discard" | "stop" | "go";

/** What the device reports of a port; the same words as in core's console-control.ts. */
export type ConsoleReport =
  | { readonly kind: "guest-open" | "guest-close" }
  | { readonly kind: "credit" | "dropped"; readonly bytes: number };

/** The way to the device. Calls keep their order. */
export interface ConsoleBackend {
  readonly windowBytes: number;
  sendData(portName: string, bytes: Uint8Array): void;
  sendCommand(portName: string, command: ConsoleCommand): void;
}

export class ConsolePorts implements AgentPorts {
  readonly #backend: ConsoleBackend;
  readonly #ports = new Map<string, ConsolePort>();

  constructor(backend: ConsoleBackend) {
    this.#backend = backend;
  }

  port(name: string): AgentPort {
    return this.#portOf(name);
  }

  /** To be called with what the device puts out for a port. */
  receiveData(portName: string, bytes: Uint8Array): void {
    this.#portOf(portName).receiveData(bytes);
  }

  receiveReport(portName: string, report: ConsoleReport): void {
    this.#portOf(portName).receiveReport(report);
  }

  #portOf(name: string): ConsolePort {
    let port = this.#ports.get(name);
    if (port === undefined) this.#ports.set(name, (port = new ConsolePort(name, this.#backend)));
    return port;
  }
}

interface PendingWrite {
  bytes: Uint8Array;
  readonly settle: () => void;
}

class ConsolePort implements AgentPort {
  onData: ((bytes: Uint8Array) => void) | undefined;
  onGuestOpen: (() => void) | undefined;
  onGuestClose: (() => void) | undefined;
  readonly #name: string;
  readonly #backend: ConsoleBackend;
  #isOpen = false;
  #isClosing = false;
  #wasOpened = false;
  #isFlowing = true;
  /** Sent to the device and not yet in the guest's queue. */
  #onTheWayBytes = 0;
  #writes: PendingWrite[] = [];
  /** What the device had sent before it heard of "stop". */
  #received: Uint8Array[] = [];

  constructor(name: string, backend: ConsoleBackend) {
    this.#name = name;
    this.#backend = backend;
  }

  open(): void {
    if (this.#isClosing) this.#finishClose();
    if (this.#isOpen) return;
    this.#isOpen = true;
    // A restored machine may have been stopped with another host's bytes on the way.
    if (!this.#wasOpened) this.#backend.sendCommand(this.#name, "discard");
    this.#backend.sendCommand(this.#name, "open");
    if (!this.#wasOpened && this.#isFlowing) this.#backend.sendCommand(this.#name, "go");
    this.#wasOpened = true;
  }

  write(bytes: Uint8Array): Promise<void> {
    if (!this.#isOpen || this.#isClosing || bytes.length === 0) return Promise.resolve();
    return new Promise((settle) => {
      this.#writes.push({ bytes, settle });
      this.#send();
    });
  }

  close(when: "delivered" | "now"): void {
    if (!this.#isOpen) return;
    if (when === "delivered") {
      this.#isClosing = true;
      this.#send();
      return;
    }
    for (const { settle } of this.#writes.splice(0)) settle();
    this.#backend.sendCommand(this.#name, "discard");
    this.#finishClose();
  }

  setFlow(isFlowing: boolean): void {
    if (this.#isFlowing === isFlowing) return;
    this.#isFlowing = isFlowing;
    this.#backend.sendCommand(this.#name, isFlowing ? "go" : "stop");
    while (this.#isFlowing && this.#received.length > 0) this.onData?.(this.#received.shift()!);
  }

  receiveData(bytes: Uint8Array): void {
    if (this.#isFlowing && this.#received.length === 0) this.onData?.(bytes);
    else this.#received.push(bytes);
  }

  receiveReport(report: ConsoleReport): void {
    if (report.kind === "guest-open") this.onGuestOpen?.();
    if (report.kind === "guest-close") this.onGuestClose?.();
    if ("bytes" in report) {
      this.#onTheWayBytes = Math.max(0, this.#onTheWayBytes - report.bytes);
      this.#send();
    }
  }

  #send(): void {
    for (let write = this.#writes[0]; write !== undefined; write = this.#writes[0]) {
      const room = this.#backend.windowBytes - this.#onTheWayBytes;
      if (room <= 0) return;
      const part = write.bytes.subarray(0, room);
      this.#onTheWayBytes += part.length;
      this.#backend.sendData(this.#name, part);
      write.bytes = write.bytes.subarray(part.length);
      if (write.bytes.length === 0) this.#writes.shift()?.settle();
    }
    if (this.#isClosing && this.#onTheWayBytes === 0) this.#finishClose();
  }

  #finishClose(): void {
    this.#isOpen = false;
    this.#isClosing = false;
    this.#backend.sendCommand(this.#name, "close");
  }
}
