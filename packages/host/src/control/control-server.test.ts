import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PassThrough, Writable } from "node:stream";
import { MigrationError, type MigrationProgress } from "@twinmetal/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { MigrateVmOptions } from "../migration/outgoing.ts";
import type { Vm, VmProgress } from "../vm/vm.ts";
import { askControl } from "./control-client.ts";
import { ControlError } from "./control-error.ts";
import { type ControlServer, serveControl } from "./control-server.ts";
import { VmControl } from "./vm-control.ts";

const PROGRESS: MigrationProgress = {
  phase: "copy",
  round: 1,
  sentBytes: 10,
  sentPages: 1,
  leftPages: 2,
  roundPages: 3,
  share: 1,
};

let directory = "";
let path = "";
let control: VmControl;
let server: ControlServer;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "twinmetal-control-"));
  path = join(directory, "s");
  control = new VmControl();
  server = await serveControl(path, control);
});
afterEach(async () => {
  await server.close();
  rmSync(directory, { recursive: true, force: true });
});

/** A VM of which only these are there. */
function vmWith(methods: Partial<Vm>): void {
  control.vm = { state: "running", disks: { discs: [] }, ...methods } as unknown as Vm;
}

async function failure(promise: Promise<unknown>): Promise<ControlError> {
  try {
    await promise;
  } catch (error) {
    if (error instanceof ControlError) return error;
    throw error;
  }
  throw new Error("nothing was refused");
}

/** Until it is cancelled. */
const endless = (_target: string, options?: MigrateVmOptions): Promise<never> =>
  new Promise((_resolve, reject) => {
    options?.signal?.addEventListener("abort", () => reject(new MigrationError("cancelled", "it was cancelled")));
    options?.onProgress?.(PROGRESS);
  });

describe("a command with a terminal", () => {
  it("gets what is typed and the window's sizes, and its output and status come back", async () => {
    const typed: string[] = [];
    const stdout = new PassThrough();
    let end!: (status: number) => void;
    const process = {
      stdin: new Writable({
        write: (bytes: Buffer, _encoding, done) => {
          typed.push(bytes.toString());
          done();
        },
      }),
      stdout,
      exited: new Promise<number>((resolve) => {
        end = resolve;
      }),
      resize: (rows: number, columns: number) => {
        stdout.end(`${typed.join()} in ${rows} by ${columns}`);
        end(5);
      },
    };
    let asked: unknown;
    const agent = {
      connect: async () => ({}),
      exec: async (_words: unknown, options: { terminal?: unknown }) => {
        asked = options.terminal;
        return process;
      },
    };
    vmWith({ agent: agent as unknown as Vm["agent"] });
    const input = async function* () {
      yield Buffer.from("ls");
      yield { rows: 33, columns: 99 };
      await new Promise(() => {}); // Nobody types any more.
    };
    let output = "";
    const onStdout = (bytes: Uint8Array): void => {
      output += Buffer.from(bytes).toString();
    };
    const terminal = { rows: 24, columns: 80, name: "xterm" };
    const request = { command: "exec", words: ["sh"], terminal } as const;
    expect(await askControl(path, request, { streams: { input: input(), onStdout } })).toBe(5);
    expect([asked, output]).toEqual([terminal, "ls in 33 by 99"]);
  });

  it("says that it waits for a guest that is still starting, and when that is over", { timeout: 20_000 }, async () => {
    const told: VmProgress[] = [];
    let start = (): void => {};
    const agent = {
      connect: () => new Promise((resolve) => (start = () => resolve({ kind: "twinmetal" }))),
    };
    vmWith({
      agent: agent as unknown as Vm["agent"],
      exec: async () => ({ exitCode: 3, stdout: new Uint8Array(), stderr: new Uint8Array() }),
    });
    const onSaving = (progress: VmProgress): void => {
      told.push(progress);
      start();
    };
    const request = { command: "exec", words: ["sh"] } as const;
    expect(await askControl(path, request, { onSaving })).toBe(3);
    expect(told).toEqual([0, 1].map((done) => ({ phase: "agent", done, total: 1 })));
  });

  it("that is typed is not waited for by an agent that takes all of it before the command starts", async () => {
    const given: unknown[] = [];
    for (const kind of ["qemu", "twinmetal"]) {
      vmWith({
        agent: { connect: async () => ({ kind }) } as unknown as Vm["agent"],
        exec: async (_words, options) => {
          given.push(options?.stdin);
          return { exitCode: 0, stdout: new Uint8Array(), stderr: new Uint8Array() };
        },
      });
      await askControl(path, { command: "exec", words: ["sh"], isTyped: true });
    }
    expect(given).toEqual([undefined, expect.anything()]);
  });

  it("is refused for a terminal that cannot be", async () => {
    vmWith({});
    const request = { command: "exec", words: ["sh"], terminal: { rows: 0, columns: 80 } } as const;
    expect((await failure(askControl(path, request))).message).toContain("nothing that is known");
  });
});

describe("the control socket", () => {
  it("hands on what is asked, progress, and the result", async () => {
    const asked: unknown[] = [];
    const result = {
      downtimeMs: 1,
      totalMs: 2,
      rounds: 1,
      sentBytes: 3,
      sentPages: 4,
      zeroPages: 5,
      stoppedPages: 6,
      leastShare: 1,
    };
    vmWith({
      migrate: async (target, { signal: _signal, onProgress, ...options } = {}) => {
        asked.push([target, options]);
        onProgress?.(PROGRESS);
        return result;
      },
    });
    const told: MigrationProgress[] = [];
    const options = { maxDowntimeMs: 50, tls: { key: "k", certificate: "c", authority: "a" } };
    const request = { command: "migrate", target: "unix:/t", options } as const;
    expect(await askControl(path, request, { onProgress: (progress) => told.push(progress) })).toEqual(result);
    expect([asked, told]).toEqual([[["unix:/t", options]], [PROGRESS]]);
  });

  it("lets a network card come, under what holds for the VM, and with nothing that no card has", async () => {
    const plugged: unknown[] = [];
    vmWith({ network: { plug: async (...given: unknown[]) => void plugged.push(given) } as unknown as Vm["network"] });
    control.onPlug = (card) => ({ ...card, allow: ["host"] });
    const network = {
      to: "user",
      forwards: [{ hostPort: 80, guestPort: 80 }],
      limits: { toGuest: { loss: 0.5 } },
    } as const;
    await askControl(path, { command: "plug", card: "net1", network });
    expect(plugged).toEqual([["net1", { ...network, allow: ["host"] }]]);
    for (const wrong of [
      { to: "tap" },
      { to: "user", mac: "" },
      { to: "user", log: "here" },
      { forwards: [{ port: 1 }] },
    ])
      expect(await failure(askControl(path, { command: "plug", card: "net1", network: wrong as never }))).toMatchObject(
        {
          code: "bad-option",
        },
      );
    control.isSealed = true;
    await expect(askControl(path, { command: "plug", card: "net1", network })).rejects.toMatchObject({
      code: "refused",
    });
    expect(plugged).toHaveLength(1);
  });

  it("lets the VM change its engine, and be recorded", async () => {
    const asked: unknown[] = [];
    const result = { from: "jit", to: "kvm", pausedMs: 1, totalMs: 2, movedPages: 0, movedBytes: 3 } as const;
    const obstacles = [{ code: "clock", message: "It counts." }] as const;
    vmWith({
      switchEngine: async (engine) => {
        asked.push(engine);
        return result;
      },
      canMigrate: async (target) => {
        asked.push(target);
        return obstacles;
      },
      record: async (file, { state }) => void asked.push([file, state]),
    });
    expect(await askControl(path, { command: "switch", engine: "kvm" })).toEqual(result);
    expect(await askControl(path, { command: "check", target: "kvm", options: {} })).toEqual(obstacles);
    await askControl(path, { command: "record", path: "/r", state: "/s" });
    expect(asked).toEqual(["kvm", "kvm", ["/r", "/s"]]);
  });

  it("tells errors with their code and what speaks against it", async () => {
    const obstacles = [{ code: "memory", message: "none left" }] as const;
    vmWith({
      migrate: async () => {
        throw new MigrationError("refused", "no", { obstacles });
      },
    });
    expect(await failure(askControl(path, { command: "migrate", target: "unix:/t", options: {} }))).toMatchObject({
      code: "refused",
      message: "no",
      obstacles,
    });
    control.vm = undefined;
    expect(await failure(askControl(path, { command: "check", target: "unix:/t", options: {} }))).toMatchObject({
      code: "bad-state",
    });
    expect(await failure(askControl(join(directory, "other"), { command: "status" }))).toMatchObject({
      code: "link-lost",
      message: expect.stringMatching(/no VM listens/),
    });
  });

  it("cancels when asked, and when who has asked goes away", async () => {
    vmWith({ migrate: endless });
    const first = failure(askControl(path, { command: "migrate", target: "unix:/t", options: {} }));
    await expect
      .poll(() => askControl(path, { command: "status" }))
      .toEqual({ state: "running", life: "running", isMigrating: true, isSealed: false, discs: [] });
    expect(await failure(askControl(path, { command: "migrate", target: "unix:/t", options: {} }))).toMatchObject({
      code: "bad-state",
    });
    await askControl(path, { command: "cancel" });
    expect((await first).code).toBe("cancelled");
    const abort = new AbortController();
    const onProgress = (): void => abort.abort();
    const second = failure(
      askControl(path, { command: "migrate", target: "unix:/t", options: {} }, { signal: abort.signal, onProgress }),
    );
    expect((await second).code).toBe("cancelled");
    expect(await failure(askControl(path, { command: "cancel" }))).toMatchObject({ code: "bad-state" });
  });

  it("decides about a held copy first, and once", async () => {
    const decided: string[] = [];
    control.held = async (choice) => void decided.push(choice);
    expect(await askControl(path, { command: "status" })).toMatchObject({ state: "held" });
    await askControl(path, { command: "decide", choice: "run" });
    vmWith({ decideMigration: async (choice) => void decided.push(`vm ${choice}`) });
    await askControl(path, { command: "decide", choice: "discard" });
    expect(decided).toEqual(["run", "vm discard"]);
  });

  it.each([
    "",
    "{}",
    "7",
    "null",
    "nonsense",
    '{"command":"decide","choice":"both"}',
    '{"command":"migrate","target":7}',
    '{"command":"switch","engine":"bochs"}',
    '{"command":"record","path":"/r"}',
    '{"command":"migrate","target":"t","options":{"stallMs":"1"}}',
    '{"command":"migrate","target":"t","options":{"more":1}}',
    "x".repeat(70_000),
  ])("refuses %.40s", async (line) => {
    const socket = connect(path);
    socket.write(`${line}\n`);
    let answer = "";
    for await (const data of socket) answer += String(data);
    expect(JSON.parse(answer)).toMatchObject({ error: { code: "bad-option" } });
  });
});
