/** The built program with a home of its own, for VMs that stay. */
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { repository } from "../../clone.ts";

const SHIM = join(repository, "packages", "cli", "bin", "twinmetal.mjs");
const TIMEOUT_MS = 120_000;

export interface Ending {
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A folder with TWINMETAL_HOME in it, removed at the end with every VM of it. */
export class Home {
  readonly directory: string;

  private constructor(directory: string) {
    this.directory = directory;
  }

  static async make(): Promise<Home> {
    return new Home(await mkdtemp(join(tmpdir(), "tm-life-")));
  }

  get env(): NodeJS.ProcessEnv {
    return { ...process.env, TWINMETAL_HOME: join(this.directory, "home") };
  }

  vm(name: string, ...parts: readonly string[]): string {
    return join(this.directory, "home", "vms", name, ...parts);
  }

  run(args: readonly string[], input = ""): Promise<Ending> {
    return new Promise((resolve) => {
      const options = { cwd: this.directory, env: this.env, timeout: TIMEOUT_MS };
      const child = execFile(process.execPath, [SHIM, ...args], options, (error, stdout, stderr) => {
        resolve({ status: error ? Number(error.code ?? -1) : 0, stdout, stderr });
      });
      child.stdin?.end(input);
    });
  }

  /** Rejects with what went wrong. */
  async must(args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await this.run(args);
    if (status !== 0) throw new Error(`${args.join(" ")}: ${status}: ${stderr}`);
    return stdout;
  }

  /** Waits until the VM has written that on its console since it was made. */
  async console(name: string, pattern: RegExp): Promise<string> {
    for (const deadlineMs = performance.now() + TIMEOUT_MS; ; await sleep(50)) {
      const text = await readFile(this.vm(name, "console.log"), "latin1").catch(() => "");
      const [found] = pattern.exec(text) ?? [];
      if (found !== undefined) return found;
      if (performance.now() > deadlineMs) throw new Error(`${name} has not written ${pattern}: ${text}`);
    }
  }

  /** Types on the console, and leaves when the VM has answered there. */
  async type(name: string, text: string, answer: RegExp): Promise<void> {
    const socket = connect(this.vm(name, "control"));
    const input = Buffer.from(text).toString("base64");
    socket.write(`${JSON.stringify({ command: "console" })}\n${JSON.stringify({ input })}\n`);
    try {
      await this.console(name, answer);
    } finally {
      socket.destroy();
    }
  }

  async remove(): Promise<void> {
    const names = (JSON.parse((await this.run(["ls", "--json"])).stdout || "[]") as { name: string }[]).map(
      (vm) => vm.name,
    );
    for (const name of names) await this.run(["rm", "--force", name]);
    await rm(this.directory, { recursive: true, force: true });
  }
}
