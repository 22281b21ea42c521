// Sockets between programs of a guest and of the host: both directions, ends, refusals, a lot of data, Unix sockets, and a restore.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { buffer, text } from "node:stream/consumers";
import { expect, it, onTestFinished } from "vitest";
import { createVm, restoreVm, type Vm } from "../../packages/host/src/index.ts";
import { keptTranslations } from "../kept-translations.ts";
import { tinyGuest } from "./tiny-guest.ts";

const PEER = new URL("./vsock-peer.c", import.meta.url).pathname;
const SOURCE_BYTES = 3_000_000;

function compile(folder: string): Uint8Array | undefined {
  const program = join(folder, "vsock-peer");
  try {
    execFileSync("gcc", ["-O1", "-static", "-o", program, PEER], { stdio: "pipe" });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
  return readFileSync(program);
}

async function sh(vm: Vm, line: string): Promise<string> {
  const { stdout, stderr } = await vm.exec(["sh", "-c", line]);
  return Buffer.from(stdout).toString() + Buffer.from(stderr).toString();
}

async function echo(stream: Duplex, words: string): Promise<string> {
  stream.end(words);
  return await text(stream);
}

it("sockets of a guest", { timeout: 240_000 }, async ({ skip }) => {
  const guest = await tinyGuest();
  if ("missing" in guest) return skip(guest.missing);
  const folder = mkdtempSync(join(tmpdir(), "twinmetal-vsock-"));
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }));
  const program = compile(folder);
  if (!program) return skip("gcc is not there to compile the guest's program");
  const [socketPath, saved] = [join(folder, "vm"), join(folder, "state")];
  {
    await using vm = await createVm({
      memoryBytes: 128 * 2 ** 20,
      vsock: { cid: 42, socketPath },
      append: "twinmetal.shell=off",
      ...keptTranslations(),
    });
    await vm.start();
    await vm.writeFile("/peer", program, { mode: 0o755 });
    await sh(
      vm,
      "(/peer listen 1000; /peer listen 1000) >/log 2>&1 & until grep -q listening /log; do sleep 0.1; done",
    );
    expect(await echo(await vm.sockets.connect(1000), "to the guest")).toBe("TO THE GUEST");
    await expect(vm.sockets.connect(999)).rejects.toMatchObject({ code: "refused" });

    vm.sockets.listen(2000, (stream) => void stream.pipe(stream));
    expect(await sh(vm, "echo from the guest | /peer connect 2000")).toBe("from the guest\n");
    expect(await sh(vm, "/peer connect 2001")).toContain("Connection reset by peer");
    const big = await sh(vm, "head -c 200000 /dev/urandom >/big; /peer connect 2000 </big | cmp - /big && echo same");
    expect(big).toBe("same\n");

    await sh(vm, `/peer source 1001 ${SOURCE_BYTES} >/log2 & until grep -q listening /log2; do sleep 0.1; done`);
    const got = await buffer(await vm.sockets.connect(1001));
    expect([got.length, got.findIndex((byte, i) => byte !== (i % 65_536) % 256)]).toEqual([SOURCE_BYTES, -1]);

    const client = connect({ path: socketPath, allowHalfOpen: true });
    expect(await echo(client, "CONNECT 1000\nby a unix socket")).toMatch(/^OK \d+\nBY A UNIX SOCKET$/);
    const server = createServer((socket) => void socket.end("hello from a server"));
    await new Promise<void>((resolve) => void server.listen(`${socketPath}_2002`, resolve));
    expect(await sh(vm, "/peer connect 2002 </dev/null")).toBe("hello from a server");
    server.close();

    await sh(vm, "(/peer connect 2000 </dev/zero; echo lost >/lost) >/dev/null 2>&1 & sleep 0.5");
    await vm.save(saved);
  }
  await using vm = await restoreVm(saved);
  await vm.start();
  expect(await sh(vm, "for i in $(seq 100); do [ -e /lost ] && break; sleep 0.1; done; cat /lost")).toBe("lost\n");
  expect(await echo(await vm.sockets.connect(1000), "again")).toBe("AGAIN");
});
