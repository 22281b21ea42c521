import { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import { PassThrough } from "node:stream";
import { machineSpec } from "@twinmetal/core";
import { explainEngine } from "@twinmetal/host";
import { describe, expect, it, vi } from "vitest";
import type { Io } from "./command.ts";
import { runProgram } from "./program.ts";
import type { DebianImage, Vm, VmExit, VmLibrary, VmOptions } from "./vm-library.ts";

const OFF: VmExit = { kind: "off", reason: "ACPI" };
const CRASH: VmExit = {
  kind: "crashed",
  reason: "triple fault",
  report: "triple fault\nrip 0\nlast 2 branch targets\n",
};

/** A VM of which only the outside is there. */
class FakeVm {
  readonly name = "vm-test";
  state = "created";
  readonly typed: string[] = [];
  readonly calls: string[] = [];
  readonly #exits: ((exit: VmExit) => void)[] = [];
  readonly #listeners = new Set<(bytes: Uint8Array) => void>();
  #exit: VmExit | undefined;
  /** What the guest does once it runs. */
  script: (vm: FakeVm) => void = () => {};
  exec: Vm["exec"] = async () => await new Promise(() => {});

  readonly agent = {
    connect: async () => ({}),
    setWindowSize: async (rows: number, columns: number) => void this.calls.push(`size ${rows} ${columns}`),
  };

  readonly serial = {
    output: { [Symbol.asyncIterator]: () => this.#iterate() },
    onData: (listener: (bytes: Uint8Array) => void) => {
      this.#listeners.add(listener);
      return () => void this.#listeners.delete(listener);
    },
    write: async (data: Uint8Array | string) => void this.typed.push(Buffer.from(data as string).toString("latin1")),
    waitFor: async () => "",
  };

  on(): () => void {
    return () => {};
  }

  async start(): Promise<void> {
    this.state = "running";
    setImmediate(() => this.script(this));
  }

  say(text: string): void {
    for (const listener of [...this.#listeners]) listener(Buffer.from(text));
  }

  end(exit: VmExit): void {
    if (this.#exit) return;
    this.#exit = exit;
    this.state = exit.kind;
    for (const resolve of this.#exits) resolve(exit);
  }

  async wait(): Promise<VmExit> {
    return this.#exit ?? (await new Promise((resolve) => this.#exits.push(resolve)));
  }

  async stats(): Promise<Record<string, number>> {
    return { retired: 42, guestNs: 7 };
  }

  async save(path: string): Promise<void> {
    this.calls.push(`save ${path}`);
  }

  async kill(): Promise<void> {
    this.end(OFF);
  }

  async close(): Promise<void> {
    this.calls.push("close");
    this.end(OFF);
  }

  #iterate(): AsyncIterator<Uint8Array> {
    const queue: Uint8Array[] = [];
    let wake = (): void => {};
    this.#listeners.add((bytes) => {
      queue.push(bytes);
      wake();
    });
    void this.wait().then(() => wake());
    return {
      next: async () => {
        while (queue.length === 0 && !this.#exit) {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
        const value = queue.shift();
        return value ? { value, done: false } : { value: undefined, done: true };
      },
      return: async () => ({ value: undefined, done: true }),
    };
  }
}

class Terminal extends PassThrough {
  isTTY = true;
  readonly modes: boolean[] = [];
  setRawMode(isRaw: boolean): this {
    this.modes.push(isRaw);
    return this;
  }
}

function setUp(options: { terminal?: boolean; library?: Partial<VmLibrary> } = {}) {
  const vm = new FakeVm();
  const signals = new EventEmitter();
  const created: VmOptions[] = [];
  const stdin = options.terminal ? new Terminal() : new PassThrough();
  const stdout = Object.assign(new PassThrough(), options.terminal ? { isTTY: true, rows: 24, columns: 80 } : {});
  const stderr = new PassThrough();
  const text = { out: "", err: "" };
  stdout.on("data", (data: Buffer) => (text.out += data.toString("latin1")));
  stderr.on("data", (data: Buffer) => (text.err += data.toString("latin1")));
  const createVm = async (given: VmOptions) => {
    created.push(given);
    return vm as unknown as Vm;
  };
  const io: Io = {
    stdin: stdin as unknown as Io["stdin"],
    stdout: stdout as unknown as Io["stdout"],
    stderr: stderr as unknown as Io["stderr"],
    env: { TERM: "xterm" },
    onSignal: (name, listener) => {
      signals.on(name, listener);
      return () => void signals.off(name, listener);
    },
    stopProcess: () => void vm.calls.push("stopped"),
    library: {
      admitVm: async () => [],
      withdrawVm: async () => {},
      readPolicy: async () => undefined,
      createVm,
      restoreVm: async () => vm as unknown as Vm,
      readStateSpec: () => machineSpec({ memoryBytes: 2 ** 28 }),
      ensureTinyImage: async () => ({ kernelPath: "vmlinuz", initrdPath: "initrd" }),
      explainEngine: () => explainEngine({ wanted: "jit" }),
      sandboxSupport: () => [{ layer: "files", state: "on", detail: "Landlock is there." }],
      engineFor: () => ({ engine: "jit", tscFrequencyHz: undefined }),
      takeConfined: () => undefined,
      ...options.library,
    } as unknown as VmLibrary,
  };
  return { vm, io, signals, created, stdin, text, run: (...args: string[]) => runProgram(io, args) };
}

describe("twinmetal", () => {
  it("explains itself, and asks for a command when there is none", async () => {
    const { run, text } = setUp();
    expect(await run()).toBe(2);
    expect(text.err).toContain("Usage: twinmetal COMMAND");
    expect(await run("--help")).toBe(0);
    expect(text.out).toContain("twinmetal run -- uname -a");
  });

  it.each(["run", "restore", "replay", "screenshot", "type", "engine", "version"])(
    "has help with examples for %s",
    async (name) => {
      const { run, text } = setUp();
      expect(await run(name, "--help")).toBe(0);
      expect(text.out).toMatch(new RegExp(`^Usage: twinmetal ${name}`));
      expect(text.out).toMatch(/Options:\n(.*\n)*Examples:\n {2}\S/);
      expect(Math.max(...text.out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
    },
  );

  it("prints the counters of a VM that it starts for that, its command's output apart", async () => {
    for (const json of [true, false]) {
      const { run, text, created, vm } = setUp();
      vm.exec = async () => ({ exitCode: 0, stdout: new Uint8Array(), stderr: new Uint8Array() });
      expect(await run("engine", "stats", "--memory", "64M", ...(json ? ["--json"] : []), "--", "true")).toBe(0);
      if (json) expect(JSON.parse(text.out)).toMatchObject({ retired: 42, guestNs: 7 });
      else expect(text.out).toMatch(/^interpreter +42 +100.0 %/m);
      expect(created[0]?.memoryBytes).toBe(64 << 20);
    }
  });

  it("says what the engine meets on this host, and takes a VM's options only with stats", async () => {
    const { run, text } = setUp();
    expect(await run("engine", "--json")).toBe(0);
    const told = JSON.parse(text.out);
    expect(told).toMatchObject({ engine: "jit", type: 2, host: { node: process.versions.node } });
    expect(Object.keys(told.rings)).toEqual(["hypervisor", "vmProcess", "guestKernel", "guestPrograms"]);
    text.out = "";
    expect(await run("engine")).toBe(0);
    expect(text.out).toMatch(/^A VM gets the jit engine here: a hypervisor of type 2\.\n/);
    expect(await run("engine", "--tier", "interp")).toBe(2);
    expect(await run("engine", "statistics")).toBe(2);
  });

  it("says at the start of a VM on a terminal that it runs slower than it could, and why", async () => {
    const told = explainEngine({ wanted: "jit" });
    for (const command of [
      ["run", "--", "true"],
      ["restore", "saved"],
    ])
      for (const notice of ["It runs slowly. There is no /dev/kvm.", undefined]) {
        const { io, text, vm } = setUp({ terminal: true, library: { explainEngine: () => ({ ...told, notice }) } });
        Object.assign(io.stderr, { isTTY: true });
        vm.exec = async () => ({ exitCode: 0, stdout: new Uint8Array(), stderr: new Uint8Array() });
        vm.script = (it) => it.end(OFF);
        await runProgram(io, command);
        const line = "twinmetal: It runs slowly. There is no /dev/kvm. What helps: twinmetal engine.\n";
        expect(text.err.includes(line)).toBe(notice !== undefined);
        expect(text.err.split("It runs slowly").length).toBe(notice === undefined ? 1 : 2);
      }
  });

  it("prints the package's version", async () => {
    const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
    for (const args of [["version"], ["--version"]]) {
      const { run, text } = setUp();
      expect(await run(...args)).toBe(0);
      expect(text.out).toBe(`twinmetal ${version}\n`);
    }
  });

  it.each([
    [["rnu"], 'there is no command "rnu". Did you mean run?'],
    [["shell"], "which VM?"],
    [["shell", "box", "ls"], "twinmetal exec -t box -- CMD"],
    [["exec", "-t", "box", "--", "vi"], "are no terminal"],
    [["fork"], "there is no command fork. Here it is: twinmetal clone NAME NEW"],
    [["serve"], "there is no command serve. It is not in this version yet."],
    [["ls", "-a"], "there is no option -a. All are listed, running or not."],
    [["run", "--rm", "-it"], "there is no option --rm. A VM without -d is gone when it ends"],
    [["run", "-drive", "file=a.img"], "there is no option -drive. Here it is: --disk FILE"],
    [["run", "-smp", "2"], "there is no option -smp. Here it is: --cpus N."],
    [["run", "-cdrom", "a.iso"], "there is no option -cdrom. Did you mean --cdrom?"],
    [["run", "-vga", "std"], "there is no option -vga. Did you mean --vga?"],
    [["run", "tiny", "ls", "-l"], "there is no option -l. A command comes after --, with its options."],
    [["exec", "box", "uname", "-a"], "there is no option -a. A command comes after --, with its options."],
    [["migrate"], "which VM?"],
    [["migrate", "a.sock"], "where to?"],
    [["migrate", "a.sock", "kvm", "--bandwidth", "50M"], "Nothing goes over a link to kvm"],
    [["migrate", "a.sock", "--record", "f"], "--record and --state need each other"],
    [["migrate", "a.sock", "there"], '"there" is no address for a VM'],
    [["migrate", "a.sock", "unix:b", "--cancel"], '"unix:b" is one word too many'],
    [["migrate", "a.sock", "tcp:h:1", "--tls-key", "k"], "TLS needs all three"],
    [["migrate", "a.sock", "tcp:h:1", "--tls-peers", "there"], "TLS needs all three"],
    [["migrate", "a.sock", "tcp:h:1", "--tls-peers", "a,,b"], "is no list of names"],
    [["migrate", "a.sock", "unix:b", "--max-downtime", "soon"], '"soon" is not a time'],
    [["run", "--incoming", "unix:b", "--seed", "00"], "--seed and --incoming exclude each other"],
    [["run", "--incoming", "unix:b", "--", "ls"], "--incoming takes a VM as it comes"],
    [["run", "--migration-socket", "s", "--", "ls"], "--migration-socket and a command exclude each other"],
    [["run", "--insecure"], "TLS options and --insecure are for --incoming"],
    [["--memory", "1G"], "the command comes first"],
    [["run", "--memroy", "1G"], "Did you mean --memory?"],
    [["run", "ls"], "A command comes after --: twinmetal run -- ls"],
    [["run", "tiny", "ls"], "twinmetal run tiny -- ls"],
    [["run", "--"], "no command after --"],
    [["run", "--kernel", "k", "tiny"], "exclude each other"],
    [["run", "--initrd", "i"], "--initrd needs --kernel"],
    [["run", "--serial", "stdio", "--", "ls"], "exclude each other"],
    [["run", "--save", "f", "--", "ls"], "needs the console"],
    [["run", "-m", "9T"], "too much"],
    [["restore"], "which file?"],
    [["replay", "a", "b"], "one word too many"],
  ])("answers %j with status 2 and one cause", async (args, message) => {
    const { run, text, created } = setUp();
    expect(await run(...args)).toBe(2);
    expect(text.err).toContain(message);
    expect(text.err).toMatch(/^twinmetal.*\nSee: twinmetal help.*\n$/);
    expect(created).toEqual([]);
  });

  it("tells the library's errors in one line, and their stack with --debug only", async () => {
    const error = Object.assign(new Error("There is no kernel file k. Check the path."), { code: "kernel-missing" });
    const library = { createVm: () => Promise.reject(error) };
    const { run, text } = setUp({ library });
    expect(await run("run", "--kernel", "k")).toBe(125);
    expect(text.err).toBe("twinmetal: There is no kernel file k. Check the path.\n");
    const debug = setUp({ library });
    expect(await debug.run("run", "--kernel", "k", "--debug")).toBe(125);
    expect(debug.text.err).toMatch(/\n\s+at /);
  });

  it("calls a mistake of its own an internal error", async () => {
    const { run, text } = setUp({ library: { createVm: () => Promise.reject(new TypeError("x is undefined")) } });
    expect(await run("run")).toBe(125);
    expect(text.err).toMatch(/^twinmetal: internal error: x is undefined\nThis is a mistake in Twinmetal\..*--debug/);
  });
});

describe("twinmetal run -- CMD", () => {
  it("joins the command's streams with its own, byte for byte, and passes its status on", async () => {
    const { run, vm, stdin, text, created } = setUp();
    vm.exec = async (command, options) => {
      expect(command).toEqual(["cat", "--x"]);
      const input = options!.stdin as AsyncIterable<Uint8Array>;
      for await (const bytes of input) await options?.onStdout?.(bytes);
      await options?.onStderr?.(Buffer.from("oops"));
      return { exitCode: 7, stdout: new Uint8Array(), stderr: new Uint8Array() };
    };
    stdin.end(Buffer.from([0, 255, 10, 27]));
    expect(await run("run", "--", "cat", "--x")).toBe(7);
    expect(text).toEqual({ out: "\0\xff\n\x1b", err: "oops" });
    expect(created[0]).toMatchObject({
      kernel: "vmlinuz",
      initrd: "initrd",
      append: "twinmetal.shell=off",
      isQuiet: true,
      memoryBytes: 2 ** 29,
    });
    expect(vm.calls).toContain("close");
  });

  it("answers 125 with the report when the guest crashes, and when it turns off too early", async () => {
    const crash = setUp();
    crash.vm.script = (vm) => vm.end(CRASH);
    expect(await crash.run("run", "--", "x")).toBe(125);
    expect(crash.text.err).toBe("twinmetal: triple fault\nrip 0\nlast 2 branch targets\n");
    const off = setUp();
    off.vm.script = (vm) => vm.end(OFF);
    expect(await off.run("run", "--", "x")).toBe(125);
    expect(off.text.err).toContain("turned off before the command had ended");
  });

  it("answers 125 when the kernel panics where nobody looks", async () => {
    const { run, vm, text } = setUp();
    vm.script = () => {
      for (const part of ["Kernel pan", "ic - not syncing: No init\x1b found.\r\n"]) vm.say(part);
    };
    expect(await run("run", "--", "x")).toBe(125);
    expect(text.err).toBe("twinmetal: The guest's kernel panicked and stands still: No init? found.\n");
  });

  it("answers 124 after --timeout, and 128+n after a signal", async () => {
    const late = setUp();
    expect(await late.run("run", "--timeout", "0.05", "--", "x")).toBe(124);
    expect(late.text.err).toMatch(/--timeout \(0\.05 s\) is over/);
    expect(late.vm.calls).toContain("close");
    for (const [name, status] of [
      ["SIGINT", 130],
      ["SIGTERM", 143],
      ["SIGHUP", 129],
    ] as const) {
      const { run, vm, signals } = setUp();
      vm.script = () => signals.emit(name);
      expect(await run("run", "--", "x")).toBe(status);
      expect(vm.calls).toContain("close");
    }
  });

  it("answers 130 to Ctrl-C while the image is being made", async () => {
    let isTidy = false;
    const ensureTinyImage: VmLibrary["ensureTinyImage"] = async (options) => {
      setImmediate(() => signals.emit("SIGINT"));
      await new Promise((resolve) => options?.signal?.addEventListener("abort", resolve));
      isTidy = true;
      throw options?.signal?.reason;
    };
    const { run, text, signals } = setUp({ library: { ensureTinyImage } });
    expect(await run("run", "--", "x")).toBe(130);
    expect(isTidy).toBe(true);
    expect(text.err).toBe("");
  });

  it("starts debian from its own kernel, on a disk that is thrown away, with memory and a network", async () => {
    const ensureDebianImage: VmLibrary["ensureDebianImage"] = async () =>
      ({ directory: "d", kernelPath: "k", initrdPath: "i", diskPath: "disk.img", append: "root" }) as DebianImage;
    const { run, vm, created } = setUp({ library: { ensureDebianImage } });
    vm.exec = async () => ({ exitCode: 0, stdout: new Uint8Array(), stderr: new Uint8Array() });
    expect(await run("run", "debian", "--append", "quiet", "--", "true")).toBe(0);
    expect(created[0]).toMatchObject({
      kernel: "k",
      initrd: "i",
      append: "root quiet",
      memoryBytes: 2 ** 30,
      disks: [{ path: "disk.img", format: "raw", isEphemeral: true }],
      networks: [{ to: "user" }],
    });
  });

  it("prints the counters with --stats", async () => {
    const { run, vm, text } = setUp();
    vm.exec = async () => ({ exitCode: 0, stdout: new Uint8Array(), stderr: new Uint8Array() });
    expect(await run("run", "--stats", "--", "true")).toBe(0);
    expect(text.err).toMatch(/^twinmetal: statistics\n {2}retired +42\n {2}guestNs +7\n {2}elapsedMs +\d+\n$/);
  });
});

describe("twinmetal run on a terminal", () => {
  const modesOf = (stdin: PassThrough): boolean[] => (stdin as Terminal).modes;

  it("passes keys and output through, and is whole again when the guest turns off", async () => {
    const { run, vm, stdin, text, created } = setUp({ terminal: true });
    vm.script = () => {
      vm.say("login: \x1b[?1049h");
      stdin.write("a\x03");
      setTimeout(() => vm.end(OFF), 20);
    };
    expect(await run("run")).toBe(0);
    expect(vm.typed.join("")).toBe("a\x03");
    expect(text.out).toBe("login: \x1b[?1049h\x1b[?1049l\x1b[0m");
    expect(modesOf(stdin)).toEqual([true, false]);
    expect(vm.calls).toContain("size 24 80");
    expect(created[0]?.append).toBe("twinmetal.term=xterm");
  });

  it("leaves with Ctrl-], and saves first when asked to", async () => {
    const { run, vm, stdin, text } = setUp({ terminal: true });
    vm.script = () => stdin.write("ls\x1dnot for the guest");
    expect(await run("run", "--save", "a.vm")).toBe(0);
    expect(vm.typed).toEqual(["ls"]);
    expect(vm.calls.filter((call) => !call.startsWith("size"))).toEqual(["save a.vm", "close"]);
    expect(text.err).toContain("saved to a.vm; go on with: twinmetal restore a.vm\n");
    expect(modesOf(stdin).at(-1)).toBe(false);
  });

  it("names the disks that a saved VM is restored with", async () => {
    const { run, vm, stdin, text } = setUp({ terminal: true });
    vm.script = () => stdin.write("\x1d");
    expect(await run("run", "--save", "a.vm", "--disk", "a.img", "--disk", "b.qcow2,readonly")).toBe(0);
    expect(text.err).toContain("go on with: twinmetal restore a.vm --disk a.img --disk b.qcow2,readonly\n");
  });

  it("says before it starts that a VM could not be saved there", async () => {
    for (const path of ["/nonexistent/a.vm", "/tmp"]) {
      const { run, text, created } = setUp({ terminal: true });
      expect(await run("run", "--save", path)).toBe(125);
      expect(text.err).toContain(`could not be saved to ${path}`);
      expect(created).toEqual([]);
    }
  });

  it.each(["SIGTERM", "SIGHUP"])("is whole again after %s", async (name) => {
    const { run, vm, stdin, signals } = setUp({ terminal: true });
    vm.script = () => signals.emit(name);
    expect(await run("run")).toBe(name === "SIGTERM" ? 143 : 129);
    expect(modesOf(stdin)).toEqual([true, false]);
  });

  it("is whole again after a crash and after an error", async () => {
    const crash = setUp({ terminal: true });
    crash.vm.script = (vm) => vm.end(CRASH);
    expect(await crash.run("run")).toBe(125);
    expect(modesOf(crash.stdin)).toEqual([true, false]);
    const broken = setUp({ terminal: true });
    broken.vm.start = () => Promise.reject(new Error("no"));
    expect(await broken.run("run")).toBe(125);
    expect(modesOf(broken.stdin)).toEqual([true, false]);
  });

  it("gives the terminal back while it is stopped", async () => {
    const { run, vm, stdin, signals } = setUp({ terminal: true });
    vm.script = () => {
      signals.emit("SIGTSTP");
      signals.emit("SIGCONT");
      vm.end(OFF);
    };
    expect(await run("run")).toBe(0);
    expect(vm.calls).toContain("stopped");
    expect(modesOf(stdin)).toEqual([true, false, true, false]);
  });
});

describe("twinmetal run without a terminal", () => {
  it("types what it is piped, and ends the guest's shell with it", async () => {
    const { run, vm, stdin, created, text } = setUp();
    stdin.end("uname");
    vm.serial.waitFor = () => new Promise((resolve) => setTimeout(resolve, 10, ""));
    vm.serial.write = async (data) => {
      vm.typed.push(String(data));
      if (data === "\x04") vm.end(OFF);
    };
    vm.script = () => vm.say("~ # ");
    expect(await run("run")).toBe(0);
    expect(vm.typed.slice(1)).toEqual(["\n", "\x04"]);
    expect(created[0]?.append).toContain("twinmetal.shell=once");
    expect(text).toEqual({ out: "~ # ", err: "" });
  });

  it("says that a guest of one's own goes on after the end of the input", async () => {
    vi.useFakeTimers();
    try {
      const { run, vm, stdin, text } = setUp();
      stdin.end();
      vm.script = () => setTimeout(() => vm.end(OFF), 60_000);
      const status = run("run", "--kernel", "k");
      await vi.advanceTimersByTimeAsync(70_000);
      expect(await status).toBe(0);
      expect(text.err).toContain("standard input has ended; the VM goes on");
    } finally {
      vi.useRealTimers();
    }
  });

  it("ends by 141 when nobody reads any more", async () => {
    const { run, vm, io } = setUp();
    io.stdout.write = ((_data: unknown, callback: (error: Error) => void) => {
      callback(Object.assign(new Error("EPIPE"), { code: "EPIPE" }));
      return false;
    }) as unknown as typeof io.stdout.write;
    vm.script = () => vm.say("hello");
    expect(await run("run")).toBe(141);
  });
});
