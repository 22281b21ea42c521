// A server of files and bytes on the loopback interface, with the headers of cross-origin isolation or without.

import { readFile } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize, sep } from "node:path";

const TYPES: Readonly<Record<string, string>> = {
  "": "text/html; charset=utf-8",
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript",
  ".mjs": "text/javascript",
  ".json": "application/json",
};
/** HTML, "cross-origin isolation": both are needed for shared memory. */
const ISOLATION = { "cross-origin-opener-policy": "same-origin", "cross-origin-embedder-policy": "require-corp" };

export interface FileServerOptions {
  readonly isIsolated: boolean;
  /** Served by path, before the files. */
  readonly pages: Readonly<Record<string, string | Uint8Array>>;
  /** Paths below these prefixes are files of these folders. */
  readonly folders: Readonly<Record<string, string>>;
}

export class FileServer {
  readonly #server: Server;

  private constructor(options: FileServerOptions) {
    this.#server = createServer(async (request, response) => {
      const path = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
      const body = options.pages[path] ?? (await fileAt(path, options.folders));
      const headers = { "content-type": TYPES[extname(path)] ?? "application/octet-stream" };
      response.writeHead(body === undefined ? 404 : 200, { ...headers, ...(options.isIsolated ? ISOLATION : {}) });
      response.end(body);
    });
  }

  static async start(options: FileServerOptions): Promise<FileServer> {
    const server = new FileServer(options);
    await new Promise<void>((resolve) => server.#server.listen(0, "127.0.0.1", resolve));
    return server;
  }

  /** "http://localhost:PORT", which browsers take for a secure context. */
  get origin(): string {
    return `http://localhost:${(this.#server.address() as AddressInfo).port}`;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }
}

async function fileAt(path: string, folders: FileServerOptions["folders"]): Promise<Uint8Array | undefined> {
  const clean = normalize(path);
  if (clean.split(sep).includes("..")) return undefined;
  for (const [prefix, folder] of Object.entries(folders)) {
    if (!clean.startsWith(prefix)) continue;
    return await readFile(join(folder, clean.slice(prefix.length))).catch(() => undefined);
  }
  return undefined;
}
