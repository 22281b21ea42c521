import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { FakeAgent, type FakeProgram } from "../../../../tests/guest/fake-agent.ts";
import { AgentClient } from "./agent-client.ts";
import { AgentError } from "./agent-error.ts";

const ALL_BYTES = Buffer.from(Array.from({ length: 256 }, (_, index) => index));

const PROGRAMS: Record<string, FakeProgram> = {
  cat: async ({ input, out }) => {
    out(await input());
    return 0;
  },
  both: ({ out, err }) => {
    out("to out");
    err("to err");
    return 3;
  },
  args: ({ argv, env, cwd, out }) => {
    out(Buffer.concat([cwd, ...env, ...argv.slice(1)].flatMap((word) => [word, Buffer.from("|")])));
    return 0;
  },
  wait: async ({ killed }) => 128 + ({ TERM: 15, KILL: 9, INT: 2 }[await killed] ?? 0),
  flood: async ({ out, killed }) => {
    for (let index = 0; index < 200; index++) out(Buffer.alloc(64 * 1024));
    return (await Promise.race([killed, "none"])) === "none" ? 0 : 137;
  },
  slow: async () => {
    await new Promise((resolve) => setTimeout(resolve, 10));
    return 0;
  },
  silent: () => new Promise(() => {}),
};

async function failure(promise: Promise<unknown>): Promise<AgentError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(AgentError);
  return error as AgentError;
}

function start(): { agent: FakeAgent; client: AgentClient } {
  const agent = new FakeAgent(PROGRAMS);
  return { agent, client: new AgentClient(agent) };
}

describe("AgentClient", () => {
  it("says hello once for many requests", async () => {
    const { agent, client } = start();
    const infos = await Promise.all([client.connect(), client.connect(), client.sync()]);
    expect(infos[0]).toEqual({ kind: "twinmetal", version: "1", kernelRelease: "6.1.0-test" });
    expect(agent.lines.filter((line) => line.startsWith("hello"))).toHaveLength(1);
  });

  it("keeps stdout, stderr and status apart", async () => {
    const { client } = start();
    const result = await client.run(["both"]);
    expect(result).toMatchObject({ exitCode: 3, stdout: Buffer.from("to out"), stderr: Buffer.from("to err") });
    expect((await client.run(["nothing"])).exitCode).toBe(127);
  });

  it("passes every byte through arguments, variables, input and output", async () => {
    const { client } = start();
    const word = ALL_BYTES.subarray(1);
    const { stdout } = await client.run(["args", "", word, "a b\n"], { cwd: "/x y", env: { A: word } });
    expect(
      stdout.equals(Buffer.concat([Buffer.from("/x y|A="), word, Buffer.from("||"), word, Buffer.from("|a b\n|")])),
    ).toBe(true);
    const big = Buffer.alloc(700_000, ALL_BYTES);
    expect((await client.run(["cat"], { input: big })).stdout.equals(big)).toBe(true);
  });

  it("runs four at once and lets the others wait", async () => {
    const { agent, client } = start();
    const results = await Promise.all(Array.from({ length: 11 }, () => client.run(["slow"])));
    expect(results.every(({ exitCode }) => exitCode === 0)).toBe(true);
    expect(agent.mostAtOnce).toBe(4);
  });

  it("uses a slot again after each way for a command to end", async () => {
    const { agent, client } = start();
    agent.answers["winsize"] = (id) => `error ${id} failed no tty`;
    for (let round = 0; round < 6; round++) {
      await client.run(["both"]);
      const process = await client.exec(["wait"]);
      expect(await process.kill("SIGINT")).toBe(true);
      expect(await process.exited).toBe(130);
      expect(await process.kill("TERM")).toBe(false);
      process.stdout.resume();
      process.stderr.resume();
      const abort = new AbortController();
      const running = client.run(["wait"], { signal: abort.signal });
      setTimeout(() => abort.abort(new Error("stop")), 2);
      await expect(running).rejects.toThrow("stop");
      await expect(client.run(["flood"], { maxOutputBytes: 1000 })).rejects.toMatchObject({ code: "AGENT_TOO_LARGE" });
    }
    expect((await client.run(["both"])).exitCode).toBe(3);
  });

  it("does not take output faster than it is read", async () => {
    const { agent, client } = start();
    const process = await client.exec(["flood"]);
    await once(process.stdout, "readable");
    await new Promise((resolve) => setTimeout(resolve, 20));
    const slotPorts = [0, 1, 2, 3].map((slot) => agent.port(`twinmetal.out.${slot}`));
    expect(slotPorts.some((port) => !port.isFlowing)).toBe(true);
    let sizeBytes = 0;
    for await (const chunk of process.stdout as AsyncIterable<Buffer>) sizeBytes += chunk.length;
    expect(sizeBytes).toBe(200 * 64 * 1024);
  });

  it("stops feeding a command that has ended", async () => {
    const { client } = start();
    let fed = 0;
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        fed++;
        yield Buffer.alloc(1000);
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    }
    expect((await client.run(["both"], { input: endless() })).exitCode).toBe(3);
    const before = fed;
    await new Promise((resolve) => setTimeout(resolve, 10));
    expect(fed - before).toBeLessThanOrEqual(1);
  });

  it("gives up waiting for an agent, and for one of another version", async () => {
    const silent = start();
    silent.agent.answers["hello"] = () => undefined;
    expect(await failure(silent.client.connect({ timeoutMs: 20 }))).toMatchObject({ code: "AGENT_TIMEOUT" });
    await expect(silent.client.run(["cat"], { signal: AbortSignal.timeout(10) })).rejects.toThrow(/timeout/);
    const other = start();
    other.agent.answers["hello"] = (id) => `hello ${id} 9 4 k`;
    expect(await failure(other.client.connect())).toMatchObject({ code: "AGENT_VERSION" });
  });

  it("repeats its hello with the same nonce until somebody hears it", async () => {
    const { agent, client } = start();
    let heard = 0;
    agent.answers["hello"] = (id) => (++heard < 2 ? undefined : `hello ${id} 1 4 k`);
    await client.connect();
    expect(new Set(agent.lines).size).toBe(1);
    expect(agent.lines.length).toBe(2);
  });

  it("fails what is under way when the agent dies, and starts anew", async () => {
    const { agent, client } = start();
    const running = await Promise.all([1, 2, 3, 4].map(() => client.exec(["silent"])));
    const queued = client.run(["both"]);
    await new Promise((resolve) => setImmediate(resolve));
    agent.port("twinmetal.ctl").onGuestClose?.();
    for (const { exited } of running) expect(await failure(exited)).toMatchObject({ code: "AGENT_LOST" });
    expect(await failure(queued)).toMatchObject({ code: "AGENT_LOST" });
    await client.sync();
    expect(agent.lines.filter((line) => line.startsWith("hello"))).toHaveLength(2);
  });

  it("fails everything when the machine ends", async () => {
    const { client } = start();
    const running = await Promise.all([1, 2, 3, 4].map(() => client.exec(["silent"])));
    const queued = client.run(["both"]);
    await new Promise((resolve) => setImmediate(resolve));
    client.shut("The machine was turned off.");
    expect((await failure(running[0]!.exited)).message).toBe("The machine was turned off.");
    expect((await failure(queued)).message).toBe("The machine was turned off.");
    expect(await failure(client.sync())).toMatchObject({ code: "AGENT_LOST" });
  });

  it("survives whatever the guest says on the control port", async () => {
    const { agent, client } = start();
    await client.connect();
    for (const line of [
      "",
      "ok",
      "ok x",
      "freed 1",
      "exit 2 0",
      "started 2 7",
      "x".repeat(100_000),
      "ok 99999999999",
      "\0\xff",
    ]) {
      agent.say(line);
    }
    agent.answers["sync"] = (id) => `error ${id} failed \x1b[31mbad`;
    const error = await failure(client.sync());
    expect(error).toMatchObject({ code: "AGENT_REFUSED", reason: "failed" });
    expect(error.message).toBe("The guest's agent refused sync: ?[31mbad.");
    expect((await client.run(["both"])).exitCode).toBe(3);
  });

  it("reports files that cannot be read in the guest's words, made harmless", async () => {
    const agent = new FakeAgent({
      cat: ({ err }) => {
        err("cat: /x\x1b: No such file\n");
        return 1;
      },
    });
    const error = await failure(new AgentClient(agent).getFile("/x"));
    expect(error).toMatchObject({ code: "AGENT_FILE" });
    expect(error.message).toBe("/x in the guest could not be read: cat: /x?: No such file.");
  });

  it("refuses arguments that make no sense before anything is sent", async () => {
    const { agent, client } = start();
    for (const attempt of [
      () => client.exec([]),
      () => client.exec([""]),
      () => client.exec(["a\0"]),
      () => client.exec(["a"], { env: { "1A": "" } }),
      () => client.exec(["a", ...Array.from({ length: 20 }, () => "x".repeat(100_000))]),
      () => client.setHostname("bad name"),
      () => client.setTime(-1),
      () => client.setTime(Number.NaN),
      () => client.exec(["sh"], { terminal: { rows: 0, columns: 80 } }),
      () => client.setWindowSize(0, 80),
      () => client.setTerminal("x y"),
      () => client.addEntropy(new Uint8Array(0)),
    ]) {
      expect((await failure(attempt())).code).toBe("AGENT_BAD_ARGUMENT");
    }
    expect(agent.lines).toEqual([]);
  });
});
