// The commands' side with the process's own, by a real socket; the VM object alone is made up.
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { StateSink } from "@twinmetal/core";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { askControl } from "../control/control-client.ts";
import { type ControlServer, serveControl } from "../control/control-server.ts";
import { VmControl } from "../control/vm-control.ts";
import type { DiskOptions } from "../disk/disk-protocol.ts";
import { fillStateFile } from "../vm/state-files.ts";
import type { OpenStateFile, Vm } from "../vm/vm.ts";
import { takeClone, takeState } from "./outgoing-state.ts";
import { FolderState, hasSavedState } from "./saved-state.ts";
import { type VmFolder, vmFolder } from "./vm-folder.ts";

const SIZE_BYTES = 3 * 4096;

let root = "";
let own: VmFolder;
let control: VmControl;
let server: ControlServer;
let events: string[] = [];
let writeState: (sink: StateSink) => void;
let endVm: () => void;

function vmWith(images: readonly DiskOptions[] = []): void {
  let state = "running";
  const move = (next: string) => async () => {
    events.push(next);
    state = next;
  };
  const vm = {
    name: "box",
    get state() {
      return state;
    },
    network: { inBays: [] },
    disks: { images, inBays: [], discs: [], flush: async () => void events.push("flushed") },
    pause: move("paused"),
    resume: move("running"),
    kill: async () => {
      endVm();
      await move("off")();
    },
    save: async (file: OpenStateFile) => {
      fillStateFile(file, { checkpoint: () => {}, onProgress: () => {} }, writeState);
      events.push("saved");
    },
  };
  control.vm = vm as unknown as Vm;
}

beforeEach(async () => {
  root = mkdtempSync(join(tmpdir(), "tm-out-"));
  own = vmFolder(root, "box");
  mkdirSync(own.disks, { recursive: true });
  control = new VmControl();
  control.isSealed = true;
  control.states = { saved: FolderState.open(own.saved), outgoing: FolderState.open(own.outgoing) };
  server = await serveControl(own.socket, control);
  events = [];
  endVm = () => {};
  writeState = (sink) => {
    sink.setSize(SIZE_BYTES);
    sink.writeAt(8192, Buffer.from("memory"));
    sink.writeAt(0, Buffer.from("a header"));
  };
});
afterEach(async () => {
  await server.close();
  rmSync(root, { recursive: true, force: true });
});

const leftIn = (directory: string): readonly string[] => readdirSync(directory).filter((name) => name !== "box");

describe("save to a file of a VM in its sandbox", () => {
  it("copies what the process has written, and lets the VM go on", async () => {
    vmWith();
    const path = join(root, "box.state");
    await takeState(own, path, {});
    const bytes = readFileSync(path);
    expect([bytes.length, bytes.toString("latin1", 0, 8), bytes.toString("latin1", 8192, 8198)]).toEqual([
      SIZE_BYTES,
      "a header",
      "memory",
    ]);
    expect(events).toEqual(["paused", "saved", "running"]);
    expect(statSync(own.outgoing).size).toBe(0);
    expect(leftIn(root)).toEqual(["box.state"]);
  });

  it("leaves what was there where it fails, and the VM goes on", async () => {
    vmWith();
    const path = join(root, "box.state");
    writeFileSync(path, "before");
    const write = writeState;
    writeState = () => {
      throw Object.assign(new Error("no space"), { code: "ENOSPC" });
    };
    await expect(takeState(own, path, {})).rejects.toMatchObject({ code: "disk-full" });
    expect([readFileSync(path, "utf8"), leftIn(root), events]).toEqual([
      "before",
      ["box.state"],
      ["paused", "running"],
    ]);
    writeState = write;
    await expect(takeState(own, join(root, "no", "file"), {})).rejects.toMatchObject({
      code: "not-writable",
      message: expect.stringContaining("(ENOENT)"),
    });
    await expect(takeState(own, root, {})).rejects.toMatchObject({ code: "not-writable" });
    expect(events.at(-1)).toBe("running");
  });

  it("is refused for a VM that writes to a disk", async () => {
    vmWith([{ path: "/data.img" }]);
    const refused = takeState(own, join(root, "box.state"), {});
    await expect(refused).rejects.toThrow("VM box goes on writing to /data.img");
    expect(leftIn(root)).toEqual([]);
  });
});

describe("a clone of a VM in its sandbox", () => {
  it("has the state and the overlays of one moment", async () => {
    const overlay = join(own.disks, "image.qcow2");
    writeFileSync(overlay, "written");
    vmWith([{ path: overlay }, { path: "/data.iso", isCdrom: true, isReadOnly: true }]);
    const to = vmFolder(root, "copy");
    mkdirSync(to.path);
    await takeClone(own, to, {});
    expect(readFileSync(join(to.disks, "image.qcow2"), "utf8")).toBe("written");
    expect(hasSavedState(to)).toBe(true);
    expect(events).toEqual(["paused", "saved", "flushed", "running"]);
  });

  it("is refused for a disk of another folder, and says what to do", async () => {
    vmWith([{ path: "/data.img" }]);
    const refused = takeClone(own, vmFolder(root, "copy"), {});
    await expect(refused).rejects.toThrow("Turn it off and clone it once");
    expect(events).toEqual([]);
  });

  it("stands still until it is copied, and goes on when who copies is gone", async () => {
    vmWith();
    const gone = new AbortController();
    const request = { command: "hand", out: "clone" } as const;
    const copied = askControl(own.socket, request, {
      signal: gone.signal,
      onHanded: async () => {
        await expect(askControl(own.socket, { command: "resume" })).rejects.toThrow("stands still for that");
        await expect(askControl(own.socket, request)).rejects.toThrow("is being copied already");
        expect(events.at(-1)).toBe("flushed");
        gone.abort();
        await new Promise(() => {});
      },
    });
    void copied.catch(() => {});
    await expect.poll(() => events.at(-1)).toBe("running");
    expect(statSync(own.outgoing).size).toBe(0);
  });
});

describe("save into the folder", () => {
  it("is no state until it is whole, and the VM does not go on from there", async () => {
    vmWith();
    const write = writeState;
    writeState = (sink) => {
      const writeAt: StateSink["writeAt"] = (offset, bytes) => {
        expect(hasSavedState(own)).toBe(false);
        sink.writeAt(offset, bytes);
      };
      write({ ...sink, writeAt });
    };
    await askControl(own.socket, { command: "save" });
    expect([hasSavedState(own), events]).toEqual([true, ["paused", "saved", "off"]]);
  });

  it("takes the state back where the VM cannot be ended", async () => {
    vmWith();
    endVm = () => {
      throw new Error("it does not end");
    };
    await expect(askControl(own.socket, { command: "save" })).rejects.toThrow("it does not end");
    expect(hasSavedState(own)).toBe(false);
  });

  it("finds no state in a file that was not finished, and one in a file that was", () => {
    writeFileSync(own.saved, Buffer.alloc(4096));
    expect(hasSavedState(own)).toBe(false);
    expect(FolderState.open(own.saved).isThere).toBe(false);
    expect(statSync(own.saved).size).toBe(0);
    writeFileSync(own.saved, "a state");
    const file = FolderState.open(own.saved);
    expect([file.isThere, hasSavedState(own)]).toEqual([true, true]);
    file.clear();
    expect([file.isThere, hasSavedState(own), existsSync(own.saved)]).toEqual([false, false, true]);
  });
});
