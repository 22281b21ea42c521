/** One command running in the guest: its streams, its end, and signals to it. Made by AgentClient.exec. */

import { Readable, Writable } from "node:stream";
import type { AgentPort } from "./agent-port.ts";
import { MarkedStream } from "./marked-stream.ts";

export interface AgentProcess {
  /** The process number in the guest. */
  readonly pid: number;
  /** Present when the command was started with `stdin: "pipe"`. Ending it is the command's end of file. */
  readonly stdin: Writable | undefined;
  /** Has to be read (or resumed): a command whose output nobody takes waits, as with a pipe. */
  readonly stdout: Readable;
  readonly stderr: Readable;
  /**
   * The exit status, 128+n after signal n, 126 and 127 when the command could not be run or found. The streams may
   * have more to deliver. Rejects when the agent is lost or the command was aborted.
   */
  readonly exited: Promise<number>;
  /** Of a command with a terminal: its new window. The command hears of it (SIGWINCH). */
  resize?(rows: number, columns: number): void;
  /** Sends a signal, such as "TERM", to the command and the processes of its session. False once it has ended. */
  kill(signal: string): Promise<boolean>;
}

/** A port's bytes between two marks, as a Node stream with back-pressure. */
export class AgentOutput extends Readable {
  readonly #port: AgentPort;
  readonly #marked: MarkedStream;
  #isDrained = false;

  constructor(port: AgentPort, mark: string, onEnd: () => void) {
    super();
    this.#port = port;
    this.#marked = new MarkedStream(
      mark,
      (bytes) => {
        if (!this.#isDrained && !this.destroyed && !this.push(bytes)) port.setFlow(false);
      },
      () => {
        if (!this.destroyed) this.push(null);
        onEnd();
      },
    );
    port.onData = (bytes) => this.#marked.write(bytes);
    port.setFlow(true);
  }

  get hasEnded(): boolean {
    return this.#marked.hasEnded;
  }

  /** From here on the command's output is dropped, so that its end can be reached. */
  drain(): void {
    this.#isDrained = true;
    this.#port.setFlow(true);
  }

  override _read(): void {
    this.#port.setFlow(true);
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.drain();
    callback(error);
  }
}

/** Standard input of a command. It closes when the command ends or reads no more; that is no error. */
export class AgentInput extends Writable {
  readonly #port: AgentPort;
  #isClosed = false;

  constructor(port: AgentPort) {
    super();
    this.#port = port;
    port.onGuestClose = () => this.close();
  }

  /** The command has ended or closed its input. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#port.onGuestClose = undefined;
    this.#port.close("now");
    this.destroy();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    if (this.#isClosed) {
      callback();
      return;
    }
    this.#port.write(chunk).then(
      () => callback(),
      (error: unknown) => callback(this.#isClosed ? null : (error as Error)),
    );
  }

  override _final(callback: (error?: Error | null) => void): void {
    if (!this.#isClosed) this.#port.close("delivered");
    callback();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    // A finished stream destroys itself; what it has written still has to reach the command.
    if (!this.writableFinished) this.close();
    callback(error);
  }
}
