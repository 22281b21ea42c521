import { spawnSync } from "node:child_process";
import { mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { connect, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { listenAt, whyNotListening } from "./listen-at.ts";

let folder = "";
let servers: Server[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "listen-at-"));
  servers = [];
});

afterEach(async () => {
  for (const server of servers) server.close();
  await rm(folder, { recursive: true });
});

function server(): Server {
  const made = createServer((socket) => socket.end());
  servers.push(made);
  return made;
}

async function refusal(path: string): Promise<NodeJS.ErrnoException> {
  return await listenAt(server(), { kind: "unix", path }).then(
    () => expect.unreachable(),
    (error: unknown) => error as NodeJS.ErrnoException,
  );
}

test("a socket that nobody listens at makes room", async () => {
  const path = join(folder, "s");
  // Its process ends without closing it.
  const code = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  spawnSync(process.execPath, ["-e", code]);
  expect((await stat(path)).isSocket()).toBe(true);
  await listenAt(server(), { kind: "unix", path });
  await new Promise<void>((resolve, reject) => {
    const client = connect(path).on("error", reject).on("close", resolve);
    client.resume();
  });
});

test("neither somebody else's server nor another file does", async () => {
  const path = join(folder, "s");
  await listenAt(server(), { kind: "unix", path });
  const inUse = await refusal(path);
  expect(inUse.code).toBe("EADDRINUSE");
  expect(whyNotListening(inUse)).toContain("in use");
  const file = join(folder, "f");
  await writeFile(file, "text");
  expect((await refusal(file)).code).toBe("EADDRINUSE");
  expect(await readFile(file, "utf8")).toBe("text");
});

test("is its owner's alone where that is asked for, and at a port of TCP", async () => {
  const path = join(folder, "s");
  await listenAt(server(), { kind: "unix", path }, { isOwnersAlone: true });
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  const tcp = server();
  await listenAt(tcp, { kind: "tcp", host: "127.0.0.1", port: 0 });
  expect(tcp.address()).toMatchObject({ address: "127.0.0.1" });
});

test("of several that find it left over, one gets it", async () => {
  const path = join(folder, "s");
  const code = `require("node:net").createServer().listen(${JSON.stringify(path)}, () => process.kill(process.pid, "SIGKILL"))`;
  spawnSync(process.execPath, ["-e", code]);
  const tries = Array.from({ length: 8 }, () => listenAt(server(), { kind: "unix", path }));
  const outcomes = await Promise.allSettled(tries);
  const reasons = outcomes.map((it) => (it.status === "fulfilled" ? "listens" : (it.reason as { code: string }).code));
  expect(reasons.sort()).toEqual([...Array<string>(7).fill("EADDRINUSE"), "listens"]);
  await new Promise<void>((resolve, reject) => {
    connect(path).on("error", reject).on("close", resolve).resume();
  });
});
