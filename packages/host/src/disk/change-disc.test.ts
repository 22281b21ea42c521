import { machineSpec, type TrayAction } from "@twinmetal/core";
import { expect, it } from "vitest";
import { changeDisc } from "./change-disc.ts";
import type { DiskThread } from "./disk-thread.ts";
import type { TrayReport } from "./let-go.ts";

const FLOPPY_BYTES = 1440 * 1024;

/** A VM with a floppy drive, where the next image has this size: what was done to the drive. */
async function insert(sizeBytes: number): Promise<{ steps: string[]; error?: unknown }> {
  const steps: string[] = [];
  const disk = { kind: "floppy", name: "disk0", sizeBytes: FLOPPY_BYTES, isReadOnly: false } as const;
  const disks = {
    change: (_index: number, options?: { readonly path: string }) => {
      steps.push(options ? `opens ${options.path}` : "empty");
      return Promise.resolve(options ? sizeBytes : 0);
    },
  } as unknown as DiskThread;
  const tray = (_disk: string, action?: TrayAction): Promise<undefined> => {
    if (action) steps.push(action.kind);
    return Promise.resolve(undefined);
  };
  const spec = machineSpec({ memoryBytes: 2 ** 24, devices: [disk] });
  try {
    await changeDisc({ spec, disks, tray }, "disk0", { force: false, path: "new.img" });
  } catch (error) {
    return { steps, error };
  }
  return { steps };
}

it("puts another disk into a floppy drive", async () => {
  expect(await insert(FLOPPY_BYTES / 2)).toEqual({ steps: ["eject", "empty", "opens new.img", "insert"] });
});

it("leaves a floppy drive empty where the image is none for it, and says what is", async () => {
  const { steps, error } = await insert(FLOPPY_BYTES + 512);
  expect(steps).toEqual(["eject", "empty", "opens new.img", "empty"]);
  expect(error).toMatchObject({
    name: "VmError",
    code: "spec-devices",
    message: "The floppy disk disk0 cannot have 1475072 bytes. Give an image of 1440 KiB or 720 KiB.",
  });
});

it("takes a disk out of its bay when the guest has let it go, and not before it has heard of it", async () => {
  const steps: string[] = [];
  const disk = {
    kind: "virtio-block",
    name: "disk0",
    sizeBytes: 2 ** 20,
    isReadOnly: false,
    isInBay: true,
    queues: 1,
  } as const;
  const disks = {
    images: [{ path: "a.img" }],
    change: async (_index: number, options?: object) => void steps.push(options ? "opens" : "closes"),
  } as unknown as DiskThread;
  // It was put in a moment ago: the bay looks empty until the machine takes both.
  const looks = [
    { isOpen: true, isWaiting: true },
    { isOpen: true, isWaiting: true },
    { isOpen: false, isWaiting: false },
    { isOpen: true, isWaiting: false },
  ];
  const tray = async (_disk: string, action?: TrayAction): Promise<TrayReport> => {
    const look = looks.shift()!;
    steps.push(action?.kind ?? (look.isOpen ? "open" : "closed"));
    return { ...look, isLocked: false, hasDisc: !look.isOpen };
  };
  const spec = machineSpec({ memoryBytes: 2 ** 24, devices: [disk] });
  await changeDisc({ spec, disks, tray }, "disk0", { force: false });
  expect(steps).toEqual(["eject", "open", "closed", "open", "closes"]);
});
