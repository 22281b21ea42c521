import { describe, expect, it } from "vitest";
import { chooseImage, withImage } from "./boot-plan.ts";
import { isImage, parseImage } from "./image-choice.ts";

describe("IMAGE", () => {
  it("is a name that is known", () => {
    expect(parseImage("tiny")).toEqual({ kind: "tiny" });
    expect(parseImage("debian")).toEqual({ kind: "debian" });
    expect([isImage("tiny"), isImage("a.qcow2,bus=nvme"), isImage("uname")]).toEqual([true, true, false]);
  });

  it("is a disk by the end of its path", () => {
    expect(parseImage("a/b.qcow2")).toEqual({ kind: "disk", disk: { path: "a/b.qcow2" } });
    expect(parseImage("b.IMG,format=qcow2,bus=ahci")).toEqual({
      kind: "disk",
      disk: { path: "b.IMG", format: "qcow2", bus: "ahci" },
    });
    expect(parseImage("b.raw,readonly")).toEqual({
      kind: "disk",
      disk: { path: "b.raw", isReadOnly: true },
    });
  });

  it("is a container image by the end of its path", () => {
    expect(parseImage("a,b.tar")).toEqual({ kind: "archive", path: "a,b.tar" });
    expect(parseImage("box.oci")).toEqual({ kind: "archive", path: "box.oci" });
  });

  it.each([
    ["alpine.tar.gz", "is compressed"],
    ["disk.img.xz", "is compressed"],
    ["win.vmdk", "qemu-img convert -O qcow2 win.vmdk win.qcow2"],
    ["debain", "there is no image"],
    ["install.iso", "--cdrom install.iso"],
    ["a.qcow2,colour=red", "nothing that a disk has"],
  ])("is not %s", (text, message) => {
    expect(() => parseImage(text)).toThrow(message);
  });
});

describe("what comes with an image", () => {
  const disk = parseImage("a.qcow2");

  it("is a network and more memory, where nothing else is said", () => {
    expect(withImage({}, disk)).toEqual({ memory: { bytes: 2 ** 30 }, net: [{ to: "user" }] });
    const said = { memory: { bytes: 2 ** 28 }, net: [undefined] };
    expect(withImage(said, disk)).toEqual(said);
    expect(withImage({}, { kind: "debian" })).toEqual(withImage({}, disk));
    expect(withImage({}, { kind: "tiny" })).toEqual({});
  });

  it("is no cloud-init in tiny", () => {
    expect(() => withImage({ user: "ada" }, { kind: "tiny" })).toThrow("cloud-init is not in the tiny image");
    expect(() => withImage({ user: "ada" }, { kind: "archive", path: "a.tar" })).toThrow("cloud-init is not in");
    expect(withImage({ user: "ada" }, undefined)).toEqual({ user: "ada" });
  });

  it("is no kernel, and may be the firmware that is named", () => {
    expect(() => chooseImage({ kernel: "vmlinuz" }, ["a.qcow2"])).toThrow("exclude each other");
    expect(() => chooseImage({ firmware: "bios" }, ["tiny"])).toThrow("exclude each other");
    expect(chooseImage({ firmware: "uefi" }, ["a.qcow2"])).toEqual(disk);
    expect(() => chooseImage({}, ["a.qcow2", "ls"])).toThrow("twinmetal run a.qcow2 -- ls");
  });
});
