import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { NamedVms } from "./named-vms.ts";
import { parseSpec, specWords, timeToLive } from "./vm-spec.ts";
import { VmStore } from "./vm-store.ts";

let directory = "";
let store: VmStore;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "tm-store-"));
  store = new VmStore(join(directory, "vms"));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const MADE = { directory: "/", image: "tiny", options: { memory: "1G", balloon: true, disk: ["a", "b"] } } as const;

describe("the store of named VMs", () => {
  it("makes, lists, renames and removes them", async () => {
    expect(await store.names()).toEqual([]);
    const made = await store.create("box", MADE);
    await store.create("a.b-c_d", { directory: "/", options: {} });
    expect(await store.names()).toEqual(["a.b-c_d", "box"]);
    expect(await store.read("box")).toEqual({ ...made, ...MADE });
    await store.rename("box", "crate");
    expect((await store.read("crate")).id).toBe(made.id);
    await store.remove("crate");
    expect(await store.names()).toEqual(["a.b-c_d"]);
    expect(readdirSync(store.root)).toEqual(["a.b-c_d"]);
  });

  it("keeps until when one lives, in its spec", async () => {
    const before = Date.now();
    const { expiresAt } = await store.create("box", { ...MADE, ttlMs: 5000 });
    expect(Date.parse(expiresAt!) - before).toBeGreaterThanOrEqual(5000);
    const spec = await store.read("box");
    expect(spec.expiresAt).toBe(expiresAt);
    expect(timeToLive(spec, Date.parse(expiresAt!) - 7)).toBe(7);
    expect(timeToLive({})).toBeUndefined();
    writeFileSync(store.folder("box").spec, JSON.stringify({ ...spec, expiresAt: "soon" }));
    await expect(store.read("box")).rejects.toMatchObject({ code: "bad-spec" });
  });

  it("does not start one whose time is over", async () => {
    await store.create("box", { ...MADE, ttlMs: -1 });
    const vms = new NamedVms(() => ({ program: "/bin/false", args: [] }), store);
    await expect(vms.start("box")).rejects.toMatchObject({ code: "expired" });
    expect(await vms.observe("box")).toMatchObject({ state: "off", expiresAt: expect.any(String) });
  });

  it("gives a name once, also to many at the same time", async () => {
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => store.create("box", MADE)));
    expect(tries.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    await store.create("other", MADE);
    await expect(store.rename("other", "box")).rejects.toMatchObject({ code: "name-in-use" });
    expect(await store.names()).toEqual(["box", "other"]);
  });

  it.each(["", ".", "..", "../x", "a/b", "-a", ".a", "a b", "x".repeat(64)])("has no VM named %j", async (name) => {
    await expect(store.create(name, MADE)).rejects.toMatchObject({ code: "bad-name" });
    expect(await store.has(name)).toBe(false);
  });

  it("says when a path is too long for a socket", async () => {
    const deep = new VmStore(join(directory, "x".repeat(90)));
    await expect(deep.create("box", MADE)).rejects.toThrow(/too long for a socket.*TWINMETAL_HOME/);
  });

  it("leaves nothing of one that could not be made, and clears what a killed command left", async () => {
    const failing = store.create("box", MADE, () => Promise.reject(new Error("no")));
    await expect(failing).rejects.toMatchObject({ code: "folder" });
    expect(readdirSync(store.root)).toEqual([]);
    for (const name of [".new-1", ".gone-2", ".new-3"]) mkdirSync(join(store.root, name));
    for (const name of [".new-1", ".gone-2"]) utimesSync(join(store.root, name), 1, 1);
    await store.create("box", MADE);
    expect(readdirSync(store.root).sort()).toEqual([".new-3", "box"]);
  });

  it("has one command at a VM at a time", async () => {
    await store.create("box", MADE);
    const first = await store.lock("box");
    let isFree = false;
    const second = store.lock("box").then((lock) => {
      expect(isFree).toBe(true);
      return lock;
    });
    await new Promise((resolve) => setTimeout(resolve, 100));
    isFree = true;
    await first.release();
    await (await second).release();
  });
});

describe("a spec file", () => {
  it.each([
    ["", /JSON/],
    ["[]", /no object/],
    ["null", /no object/],
    ['{"version":2}', /version is 2/],
    ['{"version":1,"id":"a","createdAt":"b","directory":"c"}', /absolute/],
    ['{"version":1,"id":"a","createdAt":"b","directory":"/","options":{"x":3}}', /option x/],
    ['{"version":1,"id":"a","createdAt":"b","directory":"/","options":[]}', /options/],
  ])("that is %j is refused with its path", (text, why) => {
    expect(() => parseSpec(text, "/x/vm.json")).toThrow(why);
    expect(() => parseSpec(text, "/x/vm.json")).toThrow("/x/vm.json is no VM's spec");
  });

  it("that is broken is told, and the VM can still be removed", async () => {
    await store.create("box", MADE);
    writeFileSync(store.folder("box").spec, "{");
    await expect(store.read("box")).rejects.toMatchObject({ code: "bad-spec" });
    expect(await store.names()).toEqual(["box"]);
    await store.remove("box");
    expect(existsSync(store.folder("box").path)).toBe(false);
  });

  it("becomes words of a command line", () => {
    expect(specWords(MADE)).toEqual(["tiny", "--memory=1G", "--balloon", "--disk=a", "--disk=b"]);
  });
});
