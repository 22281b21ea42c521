// A headless Chromium for tests: started with a fresh profile, driven over the DevTools protocol through a pipe (JSON
// messages that end with a zero byte, on descriptors 3 and 4). No more of the protocol than opening pages and evaluating.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";

const PROGRAM = process.env["TWINMETAL_CHROMIUM"] ?? "chromium";
const FLAGS = [
  "--headless",
  "--no-sandbox", // CI runs as root, which Chromium's sandbox refuses.
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--remote-debugging-pipe",
];

/** Why there is no Chromium here, or null. */
export function chromiumMissing(): string | null {
  try {
    execFileSync(PROGRAM, ["--version"], { stdio: ["ignore", "ignore", "ignore"], timeout: 20_000 });
    return null;
  } catch {
    return "chromium is not installed: apt-get install chromium";
  }
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly sessionId?: string;
  readonly params?: Record<string, unknown>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

export class Chromium {
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #exited: Promise<void>;
  readonly #pending = new Map<number, { resolve(result: Record<string, unknown>): void; reject(error: Error): void }>();
  readonly #pages = new Map<string, Page>();
  #nextId = 1;
  #hasExited = false;

  constructor() {
    this.#profile = mkdtempSync(join(tmpdir(), "twinmetal-chromium-"));
    // A process group of its own, so that its helpers end with it.
    this.#process = spawn(PROGRAM, [...FLAGS, `--user-data-dir=${this.#profile}`, "about:blank"], {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
      detached: true,
    });
    this.#exited = new Promise((resolve) => {
      const gone = (): void => {
        this.#hasExited = true;
        for (const { reject } of this.#pending.values()) reject(new Error("Chromium has ended"));
        this.#pending.clear();
        resolve();
      };
      this.#process.on("exit", gone);
      this.#process.on("error", gone);
    });
    this.#pipe.on("error", () => {}); // It has ended: `exit` tells.
    let rest = "";
    const output = this.#process.stdio[4] as Readable;
    output.setEncoding("utf8").on("data", (text: string) => {
      const messages = (rest + text).split("\0");
      rest = messages.pop() ?? "";
      for (const message of messages) this.#receive(JSON.parse(message) as Message);
    });
  }

  get #pipe(): Writable {
    return this.#process.stdio[3] as Writable;
  }

  /** Resolves when the page has loaded. */
  async open(url: string): Promise<Page> {
    const { targetId } = await this.send("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.send("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, String(sessionId), String(targetId));
    this.#pages.set(String(sessionId), page);
    await this.send("Runtime.enable", {}, page.sessionId);
    await this.send("Page.enable", {}, page.sessionId);
    const { errorText } = await this.send("Page.navigate", { url }, page.sessionId);
    if (errorText !== undefined) throw new Error(`${url}: ${errorText}`);
    await page.loaded;
    return page;
  }

  send(method: string, params: object, sessionId?: string): Promise<Record<string, unknown>> {
    if (this.#hasExited) return Promise.reject(new Error("Chromium has ended"));
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject });
      this.#pipe.write(`${JSON.stringify({ id, method, params, ...(sessionId ? { sessionId } : {}) })}\0`);
    });
  }

  async close(): Promise<void> {
    if (!this.#hasExited && this.#process.pid !== undefined) process.kill(-this.#process.pid, "SIGKILL");
    await this.#exited;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 10, retryDelay: 100 });
  }

  #receive({ id, result, error, method, params, sessionId }: Message): void {
    if (id !== undefined) {
      const pending = this.#pending.get(id);
      this.#pending.delete(id);
      if (error) pending?.reject(new Error(error.message));
      else pending?.resolve(result ?? {});
    } else if (method && sessionId) this.#pages.get(sessionId)?.event(method, params ?? {});
  }
}

export class Page {
  readonly sessionId: string;
  /** Uncaught exceptions, and what was written with console.error. */
  readonly errors: string[] = [];
  readonly loaded: Promise<void>;
  readonly #chromium: Chromium;
  readonly #targetId: string;
  #resolveLoaded: () => void = () => {};

  constructor(chromium: Chromium, sessionId: string, targetId: string) {
    this.#chromium = chromium;
    this.sessionId = sessionId;
    this.#targetId = targetId;
    this.loaded = new Promise((resolve) => {
      this.#resolveLoaded = resolve;
    });
  }

  /** The value (JSON) of an expression in the page, or of the promise that it is. */
  async evaluate<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = (await this.#chromium.send(
      "Runtime.evaluate",
      { expression, awaitPromise: true, returnByValue: true },
      this.sessionId,
    )) as { result: { value?: T }; exceptionDetails?: { text: string; exception?: { description?: string } } };
    if (exceptionDetails) throw new Error(exceptionDetails.exception?.description ?? exceptionDetails.text);
    return result.value as T;
  }

  async close(): Promise<void> {
    await this.#chromium.send("Target.closeTarget", { targetId: this.#targetId });
  }

  event(method: string, params: Record<string, unknown>): void {
    if (method === "Page.loadEventFired") this.#resolveLoaded();
    else if (method === "Runtime.exceptionThrown") {
      const { text, exception } = params["exceptionDetails"] as { text: string; exception?: { description?: string } };
      this.errors.push(exception?.description ?? text);
    } else if (method === "Runtime.consoleAPICalled" && params["type"] === "error") {
      this.errors.push(JSON.stringify(params["args"]));
    }
  }
}
