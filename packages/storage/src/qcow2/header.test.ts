import { describe, expect, it } from "vitest";
import { MemoryFile } from "../memory-file.ts";
import { StorageError } from "../storage-error.ts";
import { createQcow2 } from "./create.ts";
import { Qcow2Image } from "./image.ts";

async function image(change: (view: DataView) => void, options = {}): Promise<Qcow2Image> {
  const file = new MemoryFile();
  await createQcow2(file, { sizeBytes: 1 << 20, ...options });
  const bytes = file.contents();
  change(new DataView(bytes.buffer));
  return Qcow2Image.open(new MemoryFile(bytes));
}

const messageOf = (promise: Promise<unknown>) =>
  promise.then(
    () => "opened",
    (error: unknown) => (error instanceof StorageError ? `${error.code}: ${error.message}` : String(error)),
  );

function putBackingName(view: DataView, length: number): void {
  view.setUint32(12, 1024);
  view.setUint32(16, length);
}

describe("a header", () => {
  it("is read as it was made", async () => {
    const backing = { name: "base.qcow2", format: "qcow2" };
    const { header } = await image(() => {}, { clusterBytes: 4096, refcountBits: 1, backing });
    expect(header).toMatchObject({ version: 3, clusterBits: 12, refcountOrder: 0, size: 1 << 20 });
    expect(header).toMatchObject({ backingName: "base.qcow2", backingFormat: "qcow2", compression: "zlib" });
  });

  it.each<[string, RegExp, (view: DataView) => void]>([
    ["magic", /^corrupt: .*magic/, (view) => view.setUint32(0, 1)],
    ["version", /^unsupported: Version 9/, (view) => view.setUint32(4, 9)],
    ["small clusters", /^corrupt: .*2\^8/, (view) => view.setUint32(20, 8)],
    ["large clusters", /^corrupt: .*2\^22/, (view) => view.setUint32(20, 22)],
    ["encryption", /^unsupported: .*AES/, (view) => view.setUint32(32, 1)],
    ["external data", /^unsupported: .*external data file/, (view) => view.setUint32(76, 4)],
    ["extended L2", /^unsupported: .*extended L2/, (view) => view.setUint32(76, 16)],
    ["unknown feature", /^unsupported: .*feature bit 40/, (view) => view.setUint32(72, 256)],
    ["size", /^corrupt: .*too small/, (view) => view.setUint32(24, 1)],
    ["impossible size", /^corrupt: .*larger than any file/, (view) => view.setUint32(24, 0xffffffff)],
    ["L1 size", /^corrupt: .*L1 table is too large/, (view) => view.setUint32(36, 0xffffffff)],
    ["L1 place", /^corrupt: .*L1 table does not begin/, (view) => view.setUint32(44, 512)],
    ["L1 behind the end", /^corrupt: .*behind the end/, (view) => view.setUint32(40, 1)],
    ["overlap", /^corrupt: .*overlaps the L1 table/, (view) => view.setUint32(52, view.getUint32(44))],
    ["in the header", /^corrupt: .*overlaps the header/, (view) => view.setUint32(44, 0)],
    ["no refcount table", /^corrupt: .*no refcount table/, (view) => view.setUint32(56, 0)],
    ["refcount table size", /^corrupt: .*too large/, (view) => view.setUint32(56, 0x10000000)],
    ["refcount width", /^corrupt: .*2\^7/, (view) => view.setUint32(96, 7)],
    ["header length", /^corrupt: .*header of 4096000/, (view) => view.setUint32(100, 4096000)],
    ["snapshots", /^corrupt: .*too many/, (view) => view.setUint32(60, 70000)],
    ["extension", /^corrupt: .*extension/, (view) => view.setBigUint64(112, 0x5_7fff_ffffn)],
    ["backing name", /^corrupt: .*backing file's name/, (view) => putBackingName(view, 1024)],
    ["compression", /^corrupt: .*contradict/, (view) => view.setUint32(76, 8)],
  ])("with a wrong %s is refused in words", async (_, message, change) => {
    expect(await messageOf(image(change))).toMatch(message);
  });
});
