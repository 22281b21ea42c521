// The pages of the browser tests: a server of the package as npm would install it, the tests' own files and guests, and a
// Chromium that has opened a page with an import map, in which `in-page.mjs` is at hand as `t`.

import { fileURLToPath } from "node:url";
import { bareKernel, GUESTS } from "../guest/bare-kernel.ts";
import { Chromium, type Page } from "./chromium.ts";
import { FileServer, type FileServerOptions } from "./file-server.ts";

const repository = fileURLToPath(new URL("../..", import.meta.url));
const IMPORTS = { "twinmetal/browser": "/twinmetal/packages/core/dist/browser/index.js" };
const PAGE = `<!doctype html>
<title>Twinmetal</title>
<script type="importmap">${JSON.stringify({ imports: IMPORTS })}</script>
<script type="module">import * as t from "/tests/in-page.mjs"; globalThis.t = t;</script>
`;

export class BrowserRig {
  readonly page: Page;
  readonly #chromium: Chromium;
  readonly #server: FileServer;

  private constructor(page: Page, chromium: Chromium, server: FileServer) {
    this.page = page;
    this.#chromium = chromium;
    this.#server = server;
  }

  static async start(isIsolated: boolean, pages: FileServerOptions["pages"] = {}): Promise<BrowserRig> {
    const guests = Object.entries(GUESTS).map(([name, code]) => [`/guest/${name}.bin`, bareKernel(code)] as const);
    const server = await FileServer.start({
      isIsolated,
      pages: { ...Object.fromEntries(guests), ...pages, "/": PAGE },
      folders: { "/twinmetal/": repository, "/tests/": `${repository}/tests/browser` },
    });
    const chromium = new Chromium();
    try {
      const page = await chromium.open(`${server.origin}/`);
      return new BrowserRig(page, chromium, server);
    } catch (error) {
      await chromium.close();
      await server.close();
      throw error;
    }
  }

  /** The value of an async function's body in the page. */
  run<T>(body: string): Promise<T> {
    return this.page.evaluate<T>(`(async () => { ${body} })()`);
  }

  async close(): Promise<void> {
    await this.#chromium.close();
    await this.#server.close();
  }
}
