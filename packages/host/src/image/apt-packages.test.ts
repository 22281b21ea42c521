import { createHash } from "node:crypto";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AptOptions, fetchWithApt, hasApt } from "./apt-packages.ts";
import type { FetchedPackage } from "./debian-package.ts";
import { ImageError } from "./image-error.ts";

let root = "";

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), "twinmetal-apt-"));
  await mkdir(join(root, "out"));
});

afterEach(() => rm(root, { recursive: true, force: true }));

const HASH = createHash("sha256").update("content").digest("hex");

/** A shell script in apt's place: `update` and `download` are bodies, apt-cache knows one package. */
async function fakeApt(update: string, download: string): Promise<AptOptions> {
  const aptGet = join(root, "apt-get");
  const aptCache = join(root, "apt-cache");
  await writeFile(aptGet, `#!/bin/sh\ncase "$*" in *update) ${update} ;; *download*) ${download} ;; esac\n`);
  const show = `Package: tool\nVersion: 1:2\nSize: 7\nFilename: pool/t/tool_2_amd64.deb\nSHA256: ${HASH}\n`;
  await writeFile(
    aptCache,
    `#!/bin/sh\ncase "$*" in *"show tool" | *"show tool=1:2") cat <<'X'\n${show}X\n;; *) exit 100 ;; esac\n`,
  );
  await chmod(aptGet, 0o755);
  await chmod(aptCache, 0o755);
  const source = { mirror: "http://mirror.example/debian", keyring: "/keys.gpg" };
  return { source, suite: "bookworm", aptGet, aptCache };
}

const progress: string[] = [];
const run = (options: AptOptions, signal?: AbortSignal, names = ["tool"]): Promise<FetchedPackage[]> =>
  fetchWithApt(options, { names }, join(root, "out"), {
    signal,
    onProgress: (phase, done, total) => progress.push(`${phase} ${done}/${total}`),
  });

async function failure(promise: Promise<unknown>): Promise<ImageError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(ImageError);
  return error as ImageError;
}

describe("fetchWithApt", () => {
  it("fetches, reports progress, and leaves only the packages behind", async () => {
    progress.length = 0;
    const options = await fakeApt("echo dlstatus:1:50.5:Get >&3", "printf content >tool_1%3a2_amd64.deb");
    const fetched = await run(options);
    expect(fetched).toMatchObject([{ name: "tool", version: "1:2", sha256: HASH }]);
    expect(progress).toEqual(["lists 0/100", "lists 50.5/100", "lists 100/100", "download 0/7", "download 7/7"]);
    expect(await readdir(join(root, "out"))).toEqual(["tool_1%3a2_amd64.deb"]);
  });

  it("fetches what apt would install with it, each once, and refuses what apt does not describe", async () => {
    const simulated = "echo 'Inst tool (1:2 Debian [amd64])'; echo 'Conf tool (1:2 Debian [amd64])'";
    const options = await fakeApt("", `printf content >tool_1%3a2_amd64.deb`);
    const script = await readFile(options.aptGet!, "utf8");
    const withInstall = (line: string): Promise<void> =>
      writeFile(
        options.aptGet!,
        script.replace("in *update)", `in *" -s "*"install ?essential tool") ${line} ;; *update)`),
      );
    const fetchIt = (names: readonly string[]): Promise<FetchedPackage[]> =>
      fetchWithApt(options, { names, withDependencies: ["?essential", "tool"] }, join(root, "out"), {
        signal: undefined,
        onProgress: () => {},
      });
    await withInstall(simulated);
    expect(await fetchIt([])).toMatchObject([{ name: "tool", version: "1:2" }]);
    expect(await fetchIt(["tool"])).toHaveLength(1);
    await withInstall("echo 'Inst other (3 Debian [amd64])'");
    expect(await failure(fetchIt([]))).toMatchObject({ code: "IMAGE_TOOL" });
    await withInstall("echo 'E: Unable to locate package tool'; exit 100");
    expect((await failure(fetchIt([]))).message).toContain("Unable to locate package tool");
  });

  it("keeps the host's configuration in force: private files go through -c, hooks are cleared", async () => {
    const copy = `cp "$5" ${root}/seen.conf; cp "$(dirname "$5")/sources.list" ${root}/seen.list; exit 0`;
    const options = await fakeApt(`set -- $*; shift 0; ${copy.replaceAll("$5", "$4")}`, "printf content >tool_2.deb");
    await run(options);
    const config = await readFile(join(root, "seen.conf"), "utf8");
    expect(config).toContain("#clear APT::Update::Post-Invoke-Success;");
    expect(config).toMatch(/Dir::State::Lists "\S+\/out\/apt\/lists";/);
    expect(config).not.toMatch(/Proxy|Dir::Etc::parts|Dir::Etc::main/);
    expect(await readFile(join(root, "seen.list"), "utf8")).toBe(
      "deb [arch=amd64 signed-by=/keys.gpg] http://mirror.example/debian bookworm main\n",
    );
  });

  it.each([
    ["IMAGE_NETWORK", "E: Failed to fetch http://x/InRelease  Temporary failure resolving 'mirror.example'"],
    ["IMAGE_NETWORK", "W: Failed to fetch http://x/InRelease  Could not connect to mirror.example:80 (10.0.0.1)."],
    [
      "IMAGE_UNTRUSTED",
      "W: GPG error: http://x InRelease: The following signatures couldn't be verified: NO_PUBKEY 0E9",
    ],
    ["IMAGE_NOT_FOUND", "E: The repository 'http://x nosuch Release' does not have a Release file. 404  Not Found"],
    ["IMAGE_NO_SPACE", "E: Write error - write (28: No space left on device)"],
    ["IMAGE_TOOL", "E: Unmet expectation"],
  ])("maps apt's message to %s with cause and next step", async (code, line) => {
    const error = await failure(run(await fakeApt(`cat >&2 <<'X'\n${line}\nX\nexit 100`, ":")));
    expect(error.code).toBe(code);
    expect(error.message).toContain(error.nextStep);
    expect(error.nextStep.length).toBeGreaterThan(20);
    expect(await readdir(join(root, "out"))).toEqual([]);
  });

  it("fetches the lists once more when a package has moved on, and only once", async () => {
    const moved = `echo "E: Failed to fetch http://x/tool.deb  404  Not Found" >&2; exit 100`;
    const count = `echo x >>${root}/updates`;
    const once = await fakeApt(
      count,
      `[ $(wc -l <${root}/updates) = 2 ] && printf content >tool_2.deb && exit; ${moved}`,
    );
    expect(await run(once)).toHaveLength(1);
    await rm(join(root, "updates"));
    expect((await failure(run(await fakeApt(count, moved)))).code).toBe("IMAGE_NOT_FOUND");
    expect(await readFile(join(root, "updates"), "utf8")).toBe("x\nx\n");
  });

  it("refuses a package whose content is not what the index says, and one that is not there", async () => {
    const wrong = await fakeApt(":", "printf other >tool_2.deb");
    expect((await failure(run(wrong))).code).toBe("IMAGE_UNTRUSTED");
    expect((await failure(run(wrong, undefined, ["absent"]))).message).toContain(
      "no package absent in the release bookworm",
    );
  });

  it("ends apt and its children when aborted", async () => {
    const options = await fakeApt(`echo $$ >${root}/pid; sleep 60 & wait`, ":");
    const abort = new AbortController();
    const running = run(options, abort.signal);
    while (!(await readdir(root)).includes("pid")) await new Promise((resolve) => setTimeout(resolve, 5));
    abort.abort(new Error("stop"));
    await expect(running).rejects.toThrow("stop");
    const pid = Number(await readFile(join(root, "pid"), "utf8"));
    // That it has rejected shows that the children are gone too: they held its output open.
    expect(() => process.kill(pid, 0)).toThrow(/ESRCH/);
    expect(await readdir(join(root, "out"))).toEqual([]);
  });
});

describe("hasApt", () => {
  it("says no where there is none", async () => {
    expect(await hasApt(undefined, join(root, "no-apt"))).toBe(false);
  });
});
