import { randomBytes } from "node:crypto";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import { FakeQemuAgent, QemuError, SILENCE, syncAnswer } from "../../../../tests/guest/fake-qemu-agent.ts";
import { AgentError } from "./agent-error.ts";
import { QemuAgentClient } from "./qemu-agent.ts";

function start(): { agent: FakeQemuAgent; client: QemuAgentClient } {
  const agent = new FakeQemuAgent();
  return { agent, client: new QemuAgentClient(agent.port) };
}

async function failure(promise: Promise<unknown>): Promise<AgentError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(AgentError);
  return error as AgentError;
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe("QEMU's guest agent", () => {
  it("is greeted once, and says what it is", async () => {
    const { agent, client } = start();
    const infos = await Promise.all([client.connect(), client.connect()]);
    expect(infos[0]).toEqual({ kind: "qemu", version: "7.2.22", kernelRelease: "6.1.0" });
    expect(infos[1]).toBe(infos[0]);
    expect(agent.names()).toEqual(["guest-sync-delimited", "guest-info", "guest-get-osinfo"]);
  });

  it("runs commands, with directory, variables, input, both outputs and status", async () => {
    const { agent, client } = start();
    let isFirst = true;
    agent.program = (words, input, env) => {
      expect(words).toEqual(["/x y", "sort", "-r"]);
      expect(env).toEqual(expect.arrayContaining(["A=1 2", "HOME=/root"]));
      return { exited: true, exitcode: 3, "out-data": input.toString("base64"), "err-data": base64("oh\n") };
    };
    agent.overrides["guest-exec-status"] = (args) => {
      if (isFirst) {
        isFirst = false;
        return { exited: false };
      }
      delete agent.overrides["guest-exec-status"];
      return { ...agent.program(["/x y", "sort", "-r"], Buffer.from("in"), ["A=1 2", "HOME=/root"]), pid: args["pid"] };
    };
    const result = await client.run(["sort", "-r"], { cwd: "/x y", env: { A: "1 2" }, input: Buffer.from("in") });
    expect(result).toEqual({ exitCode: 3, stdout: Buffer.from("in"), stderr: Buffer.from("oh\n") });
    expect(client.isBusy).toBe(false);
  });

  it("has 128 + n as the status of what signal n has ended", async () => {
    const { agent, client } = start();
    agent.program = () => ({ exited: true, signal: 15 });
    expect((await client.run(["x"])).exitCode).toBe(143);
  });

  it("kills a command that is aborted", async () => {
    const { agent, client } = start();
    agent.program = () => ({ exited: false });
    const abort = new AbortController();
    const running = client.run(["sleep", "9"], { signal: abort.signal });
    while (!agent.names().includes("guest-exec-status")) await pause(1);
    expect(client.isBusy).toBe(true);
    abort.abort(new Error("enough"));
    await expect(running).rejects.toThrow("enough");
    while (agent.killed.length === 0) await pause(1);
    expect(agent.killed[0]).toEqual(["KILL", "100"]);
    expect((await client.osInfo()).id).toBe("debian");
  });

  it("waits five minutes for an agent that has no time to say how a command is", async () => {
    const { agent, client } = start();
    await client.connect();
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    agent.overrides["guest-exec-status"] = () => SILENCE;
    let end: unknown;
    const running = failure(client.run(["x"])).then((error) => {
      end = error;
    });
    while (!agent.names().includes("guest-exec-status")) await new Promise(setImmediate);
    await vi.advanceTimersByTimeAsync(299_000);
    expect(end).toBeUndefined();
    await vi.advanceTimersByTimeAsync(2000);
    await running;
    expect(end).toMatchObject({ code: "AGENT_TIMEOUT", message: expect.stringContaining("within 300 s") });
  });

  it("says so when output was cut, and when input is too long", async () => {
    const { agent, client } = start();
    agent.program = () => ({ exited: true, exitcode: 0, "out-data": "", "out-truncated": true });
    expect(await failure(client.run(["yes"]))).toMatchObject({ code: "AGENT_TOO_LARGE" });
    const input = new Uint8Array(5 * 2 ** 20);
    expect(await failure(client.run(["cat"], { input }))).toMatchObject({ code: "AGENT_TOO_LARGE" });
  });

  it("moves files of any bytes, whole or not at all", async () => {
    const { agent, client } = start();
    const bytes = randomBytes(700_000);
    await client.putFile("/etc/ä b", bytes, { mode: 0o600 });
    expect([...agent.files.keys()]).toEqual(["/etc/ä b"]);
    expect((await client.getFile("/etc/ä b")).equals(bytes)).toBe(true);
    expect(await failure(client.getFile("/etc/ä b", { maxBytes: 1000 }))).toMatchObject({ code: "AGENT_TOO_LARGE" });
    expect(await failure(client.getFile("/none"))).toMatchObject({ code: "AGENT_FILE" });
    agent.overrides["guest-file-write"] = () => ({ count: 5, eof: false });
    expect(await failure(client.putFile("/new", bytes))).toMatchObject({ code: "AGENT_FILE" });
    expect([...agent.files.keys()]).toEqual(["/etc/ä b"]);
    expect(agent.openFiles).toBe(0);
  });

  it("tells of network, system and time, freezes and thaws", async () => {
    const { client } = start();
    expect(await client.interfaces()).toEqual([
      {
        name: "eth0",
        mac: "52:54:00:12:34:56",
        addresses: [
          { family: "ipv4", address: "10.0.2.15", prefixLength: 24 },
          { family: "ipv6", address: "fe80::1", prefixLength: 64 },
        ],
      },
    ]);
    expect(await client.osInfo()).toMatchObject({ id: "debian", name: "Debian 12" });
    expect(await client.time()).toBe(1_700_000_000_123);
    await client.setTime(1_800_000_000_500);
    expect(await client.time()).toBe(1_800_000_000_500);
    expect(await client.isFrozen()).toBe(false);
    expect(await client.freeze()).toBe(2);
    expect(await client.isFrozen()).toBe(true);
    expect(await client.thaw()).toBe(2);
  });

  it("can be met while it is frozen, when it refuses nearly everything", async () => {
    const { agent, client } = start();
    for (const name of ["guest-exec", "guest-get-osinfo"]) agent.disabled.add(name);
    expect((await client.connect()).kind).toBe("qemu");
    expect(await failure(client.run(["true"]))).toMatchObject({ code: "AGENT_UNSUPPORTED" });
    await client.thaw();
    agent.disabled.clear();
    expect((await client.run(["true"])).exitCode).toBe(0);
  });

  it("takes a shutdown's silence for a yes, and an error for a no", async () => {
    const { agent, client } = start();
    const off = client.powerOff();
    while (!agent.names().includes("guest-shutdown")) await pause(1);
    agent.port.onGuestClose?.();
    await off;
    agent.overrides["guest-shutdown"] = () => {
      throw new QemuError("no");
    };
    expect(await failure(client.reboot())).toMatchObject({ code: "AGENT_REFUSED" });
  });

  it("says what this agent cannot do, or must not", async () => {
    const { agent, client } = start();
    agent.disabled.add("guest-exec");
    agent.disabled.add("guest-set-time");
    for (const attempt of [
      () => client.run(["ls"]),
      () => client.setTime(0),
      () => client.addEntropy(),
      () => client.exec(["sh"], { stdin: "pipe" }),
      () => client.exec(["sh"], { terminal: { rows: 24, columns: 80 } }),
    ]) {
      expect(await failure(attempt())).toMatchObject({ code: "AGENT_UNSUPPORTED" });
    }
  });
});

describe("an agent that cannot be trusted", () => {
  it("may never answer", async () => {
    const { agent, client } = start();
    agent.isDeaf = true;
    expect(await failure(client.connect({ timeoutMs: 30 }))).toMatchObject({ code: "AGENT_TIMEOUT" });
    client.shut("over");
    expect(await failure(client.connect())).toMatchObject({ code: "AGENT_LOST", message: "over" });
  });

  it("may answer late: a request that was given up is not mistaken for the next one", async () => {
    const { agent, client } = start();
    await client.connect();
    agent.overrides["guest-get-time"] = () => SILENCE;
    const abort = new AbortController();
    const late = client.time({ signal: abort.signal });
    while (!agent.names().includes("guest-get-time")) await pause(1);
    abort.abort(new Error("enough"));
    await expect(late).rejects.toThrow("enough");
    agent.say({ return: 1 });
    delete agent.overrides["guest-get-time"];
    expect(await client.time()).toBe(1_700_000_000_123);
    expect(agent.names().filter((name) => name === "guest-sync-delimited")).toHaveLength(2);
  });

  it("may answer syncs that nobody sent, with other numbers, halves of lines and noise", async () => {
    const { agent, client } = start();
    let times = 0;
    agent.overrides["guest-sync-delimited"] = (args) => {
      const id = Number(args["id"]);
      agent.say("{\xff\n\n\n[[[[");
      agent.say(syncAnswer(id + 1));
      agent.say(Buffer.alloc(300_000, 0x61));
      agent.say("\n\xff{\n");
      if (times++ === 0) return SILENCE;
      return syncAnswer(id);
    };
    expect((await client.connect()).kind).toBe("qemu");
  }, 10_000);

  it("may send without end", async () => {
    const { agent, client } = start();
    await client.connect();
    const noise = Buffer.alloc(2 ** 20, 0x20);
    agent.overrides["guest-get-time"] = () => {
      for (let piece = 0; piece < 4; piece++) agent.say(noise);
      return SILENCE;
    };
    expect(await failure(client.time())).toMatchObject({ code: "AGENT_TOO_LARGE" });
    expect(agent.port.isFlowing).toBe(false);
    agent.overrides["guest-sync-delimited"] = () => {
      for (let piece = 0; piece < 70; piece++) agent.say(Buffer.alloc(2 ** 20, 0x0a));
      return SILENCE;
    };
    expect(await failure(client.time())).toMatchObject({ code: "AGENT_PROTOCOL" });
    expect(agent.port.isFlowing).toBe(false);
  });

  it("is stopped while nothing is asked", async () => {
    const { agent, client } = start();
    expect(agent.port.isFlowing).toBe(false);
    await client.connect();
    expect(agent.port.isFlowing).toBe(false);
  });

  it.each([
    ["no JSON", "guest-get-time", "hello\n"],
    ["a text that would become a large object", "guest-get-time", `${"[".repeat(200_000)}\n`],
    ["another type", "guest-get-time", '{"return":"x"}\n'],
    ["neither a result nor an error", "guest-get-time", '{"event":1}\n'],
    ["no list", "guest-network-get-interfaces", '{"return":{}}\n'],
    ["a list of other things", "guest-network-get-interfaces", '{"return":[1,null]}\n'],
    ["another word", "guest-fsfreeze-status", '{"return":"cold"}\n'],
  ])("may answer with %s", async (_, command, line) => {
    const { agent, client } = start();
    agent.overrides[command] = () => Buffer.from(line);
    const call = { "guest-get-time": "time", "guest-fsfreeze-status": "isFrozen" }[command] ?? "interfaces";
    expect(await failure(client[call as "time"]())).toMatchObject({ code: "AGENT_PROTOCOL" });
    delete agent.overrides[command];
    await client[call as "time"]();
  });

  it.each([
    [{ exited: true, exitcode: -1 }],
    [{ exited: true, exitcode: 1e9 }],
    [{ exited: 1 }],
    [{ exited: true, exitcode: 0, "out-data": "not base64!" }],
    [{ exited: true, exitcode: 0, "out-data": { a: 1 } }],
  ])("may lie about a command: %j", async (status) => {
    const { agent, client } = start();
    agent.overrides["guest-exec-status"] = () => status;
    expect(await failure(client.run(["x"]))).toMatchObject({ code: "AGENT_PROTOCOL" });
  });

  it.each([
    [{ count: 5, "buf-b64": "", eof: true }],
    [{ count: 0, "buf-b64": "", eof: "no" }],
    [{ count: 300_000, "buf-b64": Buffer.alloc(300_000).toString("base64"), eof: true }],
    [{ count: 0, "buf-b64": "", eof: false }],
  ])("may lie about a file: %#", async (part) => {
    const { agent, client } = start();
    agent.files.set("/f", Buffer.alloc(0));
    agent.overrides["guest-file-read"] = () => part;
    expect(await failure(client.getFile("/f"))).toMatchObject({ code: "AGENT_PROTOCOL" });
  });

  it("has its words made harmless", async () => {
    const { agent, client } = start();
    agent.overrides["guest-get-osinfo"] = () => ({ id: "x\x1b[2J", "pretty-name": "y".repeat(10_000) });
    const { id, name } = await client.osInfo();
    expect(id).toBe("x?[2J");
    expect(name).toHaveLength(256);
    agent.overrides["guest-get-time"] = () => {
      throw new QemuError("bad \x1b[31m");
    };
    expect((await failure(client.time())).message).toBe("The guest's agent refused guest-get-time: bad ?[31m.");
  });

  it("may end in the middle, and be another one afterwards", async () => {
    const { agent, client } = start();
    await client.connect();
    agent.overrides["guest-get-time"] = () => SILENCE;
    const asked = client.time();
    while (!agent.names().includes("guest-get-time")) await pause(1);
    agent.port.onGuestClose?.();
    expect(await failure(asked)).toMatchObject({ code: "AGENT_LOST" });
    expect(client.isConnected).toBe(false);
    delete agent.overrides["guest-get-time"];
    await client.time();
    expect(agent.names().filter((name) => name === "guest-info")).toHaveLength(2);
  });
});
