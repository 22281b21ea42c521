/** DNS over TCP (RFC 7766), as a stream of the host that has the name service at its other end. GUEST-CONTROLLED: what is written. */
import type { HostStream, StreamEvents } from "../world.ts";
import type { NameService } from "./name-service.ts";

const MAX_WAITING_BYTES = 1 << 18;

export class DnsStream implements HostStream {
  readonly pendingBytes = 0;
  readonly #service: NameService;
  readonly #events: StreamEvents;
  #received = new Uint8Array(0);
  #waiting: Uint8Array[] = [];
  #waitingBytes = 0;
  #questions = 0;
  #isPaused = false;
  #isEnding = false;
  #isDestroyed = false;

  constructor(service: NameService, events: StreamEvents) {
    this.#service = service;
    this.#events = events;
    Promise.resolve().then(() => {
      if (!this.#isDestroyed) events.opened();
    });
  }

  write(bytes: Uint8Array): void {
    let all = new Uint8Array(this.#received.length + bytes.length);
    all.set(this.#received);
    all.set(bytes, this.#received.length);
    while (all.length >= 2) {
      const length = (all[0]! << 8) | all[1]!;
      if (all.length < 2 + length) break;
      this.#ask(all.slice(2, 2 + length));
      all = all.subarray(2 + length);
    }
    this.#received = all;
  }

  #ask(message: Uint8Array): void {
    if (this.#waitingBytes > MAX_WAITING_BYTES) return;
    this.#questions++;
    const isAsked = this.#service.ask(message, false, (answer) => {
      this.#questions--;
      const framed = new Uint8Array(2 + answer.length);
      framed.set([answer.length >> 8, answer.length & 0xff]);
      framed.set(answer, 2);
      this.#waiting.push(framed);
      this.#waitingBytes += framed.length;
      // An answer may be at hand at once; events do not come from inside a call.
      Promise.resolve().then(() => this.#deliver());
    });
    if (!isAsked) this.#questions--;
  }

  #deliver(): void {
    if (this.#isPaused || this.#isDestroyed) return;
    const ready = this.#waiting;
    this.#waiting = [];
    this.#waitingBytes = 0;
    for (const answer of ready) this.#events.data(answer);
    if (this.#isEnding && this.#questions === 0 && this.#waiting.length === 0) this.#events.ended();
  }

  end(): void {
    this.#isEnding = true;
    Promise.resolve().then(() => this.#deliver());
  }

  destroy(): void {
    this.#isDestroyed = true;
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    Promise.resolve().then(() => this.#deliver());
  }
}
