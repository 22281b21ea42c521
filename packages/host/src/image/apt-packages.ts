/**
 * Fetches Debian packages with the host's apt, without touching the host's own lists, cache or status: apt gets
 * private directories and a private sources.list, so it needs neither privileges nor earlier `apt update`. Everything
 * else of the host's configuration, proxies above all, stays in force, because the private file is read after it
 * (apt-get -c, apt.conf(5)); only hooks that would run the host's commands are cleared.
 */

import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { isMissingProgram, runProgram } from "./child-process.ts";
import {
  type FetchedPackage,
  type FetchHooks,
  hashFile,
  hashMismatch,
  type PackageRecord,
  readPackageRecord,
  resolvePackage,
} from "./debian-package.ts";
import { type DebianSource, parseDeb822 } from "./debian-sources.ts";
import { ImageError } from "./image-error.ts";

export interface AptOptions {
  readonly source: DebianSource;
  readonly suite: string;
  /** For tests: what to call instead of apt-get and apt-cache. */
  readonly aptGet?: string;
  readonly aptCache?: string;
}

export interface WantedPackages {
  /** These alone, metapackages of kernels resolved. */
  readonly names: readonly string[];
  /** What apt would install of these on an empty system, without what is only recommended: names, or patterns (apt-patterns(7)). */
  readonly withDependencies?: readonly string[];
}

export async function hasApt(signal?: AbortSignal, aptGet = "apt-get"): Promise<boolean> {
  try {
    return (await runProgram(aptGet, ["--version"], { signal })).status === 0;
  } catch (error) {
    if (isMissingProgram(error)) return false;
    throw error;
  }
}

/** Fetches what is wanted into `directory`, which also holds apt's private files meanwhile. */
export async function fetchWithApt(
  options: AptOptions,
  wanted: WantedPackages,
  directory: string,
  hooks: FetchHooks,
): Promise<FetchedPackage[]> {
  const apt = new PrivateApt(options, join(directory, "apt"), hooks);
  try {
    try {
      return await apt.fetch(wanted, directory);
    } catch (error) {
      // The mirror moved on between its index and its files: once more with fresh lists.
      if (!(error instanceof StaleIndexError)) throw error;
      await apt.forgetLists();
      return await apt.fetch(wanted, directory);
    }
  } finally {
    await rm(join(directory, "apt"), { recursive: true, force: true });
  }
}

class StaleIndexError extends ImageError {}

class PrivateApt {
  readonly #options: AptOptions;
  readonly #root: string;
  readonly #hooks: FetchHooks;

  constructor(options: AptOptions, root: string, hooks: FetchHooks) {
    this.#options = options;
    this.#root = root;
    this.#hooks = hooks;
  }

  async forgetLists(): Promise<void> {
    await rm(this.#root, { recursive: true, force: true });
  }

  async fetch({ names, withDependencies = [] }: WantedPackages, directory: string): Promise<FetchedPackage[]> {
    await this.#prepare();
    this.#hooks.onProgress("lists", 0, 100);
    await this.#get(["update"], "lists", 100);
    this.#hooks.onProgress("lists", 100, 100);
    const records: PackageRecord[] = [];
    for (const name of names) records.push(await resolvePackage(name, (wanted) => this.#lookUp(wanted)));
    if (withDependencies.length > 0) {
      const known = new Set(records.map(({ name }) => name));
      for (const record of await this.#closure(withDependencies)) if (!known.has(record.name)) records.push(record);
    }

    const totalBytes = records.reduce((sum, record) => sum + record.sizeBytes, 0);
    this.#hooks.onProgress("download", 0, totalBytes);
    const wanted = records.map(({ name, version }) => `${name}=${version}`);
    await this.#get(["download", ...wanted], "download", totalBytes, directory);
    this.#hooks.onProgress("download", totalBytes, totalBytes);

    const files = await readdir(directory);
    const fetched: FetchedPackage[] = [];
    for (const record of records) {
      const file = files.find((name) => name.startsWith(`${record.name}_`) && name.endsWith(".deb"));
      if (file === undefined) throw this.#failed("download", `it left no file for ${record.name}`);
      const path = join(directory, file);
      if ((await hashFile(path, this.#hooks.signal)) !== record.sha256) throw hashMismatch(record.name, this.#mirror);
      fetched.push({ ...record, path });
    }
    return fetched;
  }

  get #mirror(): string {
    return this.#options.source.mirror;
  }

  async #prepare(): Promise<void> {
    const root = this.#root;
    for (const name of ["lists/partial", "cache/archives/partial", "state", "preferences.d"]) {
      await mkdir(join(root, name), { recursive: true });
    }
    const { source, suite } = this.#options;
    const signedBy = source.keyring === undefined ? "" : ` signed-by=${source.keyring}`;
    await writeFile(join(root, "status"), "");
    await writeFile(join(root, "sources.list"), `deb [arch=amd64${signedBy}] ${source.mirror} ${suite} main\n`);
    await writeFile(join(root, "apt.conf"), this.#configuration());
  }

  #configuration(): string {
    const settings: Record<string, string> = {
      "Dir::State": `${this.#root}/state`,
      "Dir::State::Lists": `${this.#root}/lists`,
      "Dir::State::status": `${this.#root}/status`,
      "Dir::Cache": `${this.#root}/cache`,
      "Dir::Cache::archives": `${this.#root}/cache/archives`,
      "Dir::Cache::pkgcache": "pkgcache.bin",
      "Dir::Cache::srcpkgcache": "srcpkgcache.bin",
      "Dir::Etc::sourcelist": `${this.#root}/sources.list`,
      "Dir::Etc::sourceparts": "/dev/null",
      "Dir::Etc::preferences": "/dev/null",
      "Dir::Etc::preferencesparts": `${this.#root}/preferences.d`,
      "APT::Architecture": "amd64",
      "APT::Update::Error-Mode": "any",
      "Acquire::Languages": "none",
      "Acquire::Retries": "2",
      "Debug::NoLocking": "1",
    };
    // As root, apt would fetch as another user, who may not enter the private directories.
    if (process.getuid?.() === 0) settings["APT::Sandbox::User"] = "root";
    return [
      "#clear APT::Architectures;",
      ...["Pre-Invoke", "Post-Invoke", "Post-Invoke-Success"].map((hook) => `#clear APT::Update::${hook};`),
      ...Object.entries(settings).map(([name, value]) => `${name} "${value}";`),
      'APT::Architectures { "amd64"; };',
      "",
    ].join("\n");
  }

  async #simulate(wanted: readonly string[]): Promise<string> {
    const options = ["APT::Install-Recommends=false", "APT::Install-Suggests=false"].flatMap((text) => ["-o", text]);
    const config = ["-q", "-y", "-s", "-c", join(this.#root, "apt.conf"), ...options];
    const result = await runProgram(this.#options.aptGet ?? "apt-get", [...config, "install", ...wanted], {
      signal: this.#hooks.signal,
    });
    if (result.status !== 0) throw this.#explain("install", `${result.stderr}\n${result.stdout}`);
    return result.stdout;
  }

  async #get(
    args: readonly string[],
    phase: "lists" | "download",
    total: number,
    cwd: string = this.#root,
  ): Promise<void> {
    const config = ["-q", "-y", "-c", join(this.#root, "apt.conf"), "-o", "APT::Status-Fd=3"];
    const result = await runProgram(this.#options.aptGet ?? "apt-get", [...config, ...args], {
      signal: this.#hooks.signal,
      cwd,
      onStatusLine: (line) => {
        const percent = /^dlstatus:[^:]*:([0-9.]+):/.exec(line)?.[1];
        if (percent !== undefined)
          this.#hooks.onProgress(phase, Math.min(total, (Number(percent) / 100) * total), total);
      },
    });
    if (result.status !== 0) throw this.#explain(args[0] ?? "", `${result.stderr}\n${result.stdout}`);
  }

  async #lookUp(name: string): Promise<PackageRecord> {
    const [fields] = await this.#show([name]);
    if (fields === undefined) throw packageNotFound(name, this.#options.suite, this.#mirror);
    return readPackageRecord(fields, this.#mirror);
  }

  async #closure(wanted: readonly string[]): Promise<PackageRecord[]> {
    const output = await this.#simulate(wanted);
    const names = [...output.matchAll(/^Inst ([a-z0-9][a-z0-9.+-]+)(?::amd64)? \((\S+) /gm)].map(
      ([, name, version]) => `${name}=${version}`,
    );
    const records = (await this.#show(names)).map((fields) => readPackageRecord(fields, this.#mirror));
    if (records.length === 0 || records.length !== names.length)
      throw this.#failed("install", `it named ${names.length} packages and described ${records.length}`);
    return records;
  }

  /** The packages' paragraphs; none where one is not known. */
  async #show(names: readonly string[]): Promise<Map<string, string>[]> {
    const result = await runProgram(
      this.#options.aptCache ?? "apt-cache",
      ["-c", join(this.#root, "apt.conf"), "--no-all-versions", "show", ...names],
      { signal: this.#hooks.signal },
    );
    return result.status === 0 ? parseDeb822(result.stdout) : [];
  }

  #failed(command: string, why: string): ImageError {
    return new ImageError(
      "IMAGE_TOOL",
      `apt-get ${command} failed: ${why}.`,
      "Look at apt's configuration on this host.",
    );
  }

  /** apt's messages, mapped to a cause and a next step. */
  #explain(command: string, output: string): ImageError {
    const lines = output.split("\n").map((line) => line.trim());
    const reason = (pattern: RegExp): string | undefined =>
      lines
        .find((line) => /^[EW]:/.test(line) && pattern.test(line))
        ?.replace(/^[EW]: (?:Failed to fetch \S+\s+)?/, "") ?? lines.find((line) => pattern.test(line));
    const mirror = this.#mirror;
    const noSpace = reason(/No space left on device|not have enough free space/i);
    if (noSpace !== undefined) {
      return new ImageError(
        "IMAGE_NO_SPACE",
        `The disk is full: ${noSpace}`,
        "Free some space, or set XDG_CACHE_HOME to another disk.",
      );
    }
    const untrusted = reason(/NO_PUBKEY|EXPKEYSIG|BADSIG|is not signed|couldn't be verified|key\(s\) in the keyring/i);
    if (untrusted !== undefined) {
      return new ImageError(
        "IMAGE_UNTRUSTED",
        `The signature of ${mirror} cannot be verified: ${untrusted}.`,
        "Install the package debian-archive-keyring, or name a mirror of Debian itself with --mirror URL.",
      );
    }
    const network = reason(
      /resolv|could not connect|connection (?:refused|timed out|failed|reset)|unreachable|unable to connect|timed out|proxy|certificate|handshake/i,
    );
    if (network !== undefined) return networkError(mirror, network);
    const stale = reason(/\b404\b|hash sum mismatch|unexpected size|mirror sync in progress/i);
    if (stale !== undefined) {
      const NotThere = command === "update" ? ImageError : StaleIndexError;
      return new NotThere(
        "IMAGE_NOT_FOUND",
        `${mirror} does not have what its index promises, or no release ${this.#options.suite}: ${stale}.`,
        "Try again in a few minutes, or name another mirror with --mirror URL.",
      );
    }
    return this.#failed(command, reason(/^E:/) ?? lines.find((line) => line !== "") ?? "no message");
  }
}

export function packageNotFound(name: string, suite: string, mirror: string): ImageError {
  return new ImageError(
    "IMAGE_NOT_FOUND",
    `${mirror} has no package ${name} in the release ${suite}.`,
    "Name a mirror that carries Debian for amd64 with --mirror URL.",
  );
}

export function networkError(mirror: string, why: string, cause?: unknown): ImageError {
  return new ImageError(
    "IMAGE_NETWORK",
    `The Debian mirror ${mirror} cannot be reached: ${why.replace(/\.$/, "")}.`,
    "An image is put together from it on first use, later runs need no network. Check the network and apt's proxy settings, or name another mirror with --mirror URL.",
    { cause },
  );
}
