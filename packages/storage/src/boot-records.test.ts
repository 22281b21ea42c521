import { describe, expect, it } from "vitest";
import { firmwareOfDisk } from "./boot-records.ts";
import { MemoryFile } from "./memory-file.ts";
import { RawDisk } from "./raw.ts";

const ESP = "28732ac11ff8d211ba4b00a0c93ec93b";

async function firmwareOf(fill: (disk: Uint8Array, view: DataView) => void, sizeBytes = 1 << 16) {
  const bytes = new Uint8Array(sizeBytes);
  fill(bytes, new DataView(bytes.buffer));
  return await firmwareOfDisk(await RawDisk.open(new MemoryFile(bytes)));
}

function gpt(bytes: Uint8Array, view: DataView, at = 2n, entryBytes = 128): void {
  bytes.set([0x55, 0xaa], 510);
  bytes.set(Buffer.from("EFI PART"), 512);
  view.setBigUint64(512 + 72, at, true);
  view.setUint32(512 + 80, 0xffff_ffff, true);
  view.setUint32(512 + 84, entryBytes, true);
  bytes.set(Buffer.from(ESP, "hex"), 1024 + 3 * 128);
}

describe("what a disk is started by", () => {
  it("is a BIOS where there is boot code, whatever else is there", async () => {
    expect(
      await firmwareOf((bytes, view) => {
        gpt(bytes, view);
        bytes[0] = 0xeb;
      }),
    ).toBe("bios");
  });

  it("is UEFI where there is only its partition, of GPT or MBR", async () => {
    expect(await firmwareOf((bytes, view) => gpt(bytes, view))).toBe("uefi");
    expect(
      await firmwareOf((bytes) => {
        bytes.set([0x55, 0xaa], 510);
        bytes[446 + 16 + 4] = 0xef;
      }),
    ).toBe("uefi");
  });

  it("is nothing where there is neither, and where the table lies", async () => {
    expect(await firmwareOf(() => {})).toBeUndefined();
    expect(await firmwareOf((bytes) => void bytes.set([1], 0), 1024)).toBeUndefined();
    expect(await firmwareOf((bytes, view) => gpt(bytes, view, 2n ** 63n))).toBeUndefined();
    expect(await firmwareOf((bytes, view) => gpt(bytes, view, 2n, 0))).toBeUndefined();
    expect(await firmwareOf((bytes, view) => gpt(bytes, view, 2n, 0x8000_0000))).toBeUndefined();
  });
});
