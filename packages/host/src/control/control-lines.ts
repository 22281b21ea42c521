/** The lines of a control connection, with back-pressure: what nobody takes is not read, beyond a few lines. */
import type { Socket } from "node:net";
import { badRequest } from "./control-error.ts";

const MAX_LINE_BYTES = 64 * 1024;
const MAX_WAITING_LINES = 64;

export class ControlLines {
  /** Their sender has no more, or is gone. */
  onEnd: () => void = () => {};
  readonly #socket: Socket;
  readonly #lines: string[] = [];
  #text = "";
  #wake: () => void = () => {};
  #ended: Error | undefined;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.setEncoding("utf8");
    socket.on("data", (data) => this.#take(String(data)));
    socket.on("end", () => this.#end(badRequest("The request is not whole.")));
    socket.on("close", () => this.#end(badRequest("The request is not whole.")));
    socket.on("error", () => this.#end(badRequest("The request is not whole.")));
  }

  /** Rejects with ControlError "bad-option" where there is none. */
  async next(): Promise<string> {
    for (;;) {
      const line = this.#lines.shift();
      if (this.#lines.length < MAX_WAITING_LINES) this.#socket.resume();
      if (line !== undefined) return line;
      if (this.#ended) throw this.#ended;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  #take(data: string): void {
    this.#text += data;
    const lines = this.#text.split("\n");
    this.#text = lines.pop() ?? "";
    this.#lines.push(...lines);
    if (this.#text.length > MAX_LINE_BYTES || lines.some((line) => line.length > MAX_LINE_BYTES)) {
      this.#text = "";
      this.#end(badRequest("The request is too long."));
    }
    if (this.#lines.length >= MAX_WAITING_LINES) this.#socket.pause();
    this.#wake();
  }

  #end(error: Error): void {
    if (this.#ended) return;
    this.#ended = error;
    this.#wake();
    this.onEnd();
  }
}
