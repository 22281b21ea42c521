/** Makes what a Debian mirror serves: tar and ar files, packages, and a small archive with its indices. For tests. */

import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";

export interface TarFile {
  readonly path: string;
  readonly data?: Uint8Array | string;
  readonly typeFlag?: string;
}

const BLOCK_SIZE = 512;

/** One header and its data, ustar. */
export function tarEntry({ path, data = "", typeFlag = "0" }: TarFile): Buffer {
  const body = Buffer.from(data as Uint8Array);
  const header = Buffer.alloc(BLOCK_SIZE);
  header.write(path, 0, 100, "utf8");
  header.write("0000644\0", 100, "latin1");
  header.write(`${body.length.toString(8).padStart(11, "0")}\0`, 124, "latin1");
  header.write("        ", 148, "latin1");
  header.write(typeFlag, 156, "latin1");
  header.write("ustar\x0000", 257, "latin1");
  setChecksum(header);
  return Buffer.concat([header, body, Buffer.alloc(-body.length & (BLOCK_SIZE - 1))]);
}

export function setChecksum(header: Buffer): void {
  header.write("        ", 148, "latin1");
  const sum = header.subarray(0, BLOCK_SIZE).reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
}

export function tarFile(...files: readonly TarFile[]): Buffer {
  return Buffer.concat([...files.map(tarEntry), Buffer.alloc(2 * BLOCK_SIZE)]);
}

export function arFile(...members: readonly { name: string; data: Uint8Array }[]): Buffer {
  const parts: Uint8Array[] = [Buffer.from("!<arch>\n")];
  for (const { name, data } of members) {
    const header = `${name.padEnd(16)}0           0     0     100644  ${String(data.length).padEnd(10)}\`\n`;
    parts.push(Buffer.from(header, "latin1"), data, Buffer.alloc(data.length & 1, "\n"));
  }
  return Buffer.concat(parts);
}

export function debFile(...files: readonly TarFile[]): Buffer {
  return debWithControl([], ...files);
}

export function debWithControl(control: readonly TarFile[], ...files: readonly TarFile[]): Buffer {
  return arFile(
    { name: "debian-binary", data: Buffer.from("2.0\n") },
    { name: "control.tar.gz", data: gzipSync(tarFile(...control)) },
    { name: "data.tar.gz", data: gzipSync(tarFile(...files)) },
  );
}

/** A relocatable ELF-64 file with nothing but a .modinfo section, as far as modules are read here. */
export function kernelModule(depends: string): Buffer {
  const names = Buffer.from("\0.modinfo\0.shstrtab\0", "latin1");
  const modinfo = Buffer.from(`license=GPL\0depends=${depends}\0name=x\0`, "latin1");
  const file = Buffer.alloc(64 + names.length + modinfo.length + 3 * 64);
  const sections = 64 + names.length + modinfo.length;
  file.write("\x7fELF\x02\x01\x01", 0, "latin1");
  file.writeBigUInt64LE(BigInt(sections), 0x28);
  file.writeUInt16LE(64, 0x3a);
  file.writeUInt16LE(3, 0x3c);
  file.writeUInt16LE(2, 0x3e);
  names.copy(file, 64);
  modinfo.copy(file, 64 + names.length);
  const writeSection = (index: number, name: number, offset: number, size: number): void => {
    file.writeUInt32LE(name, sections + index * 64);
    file.writeBigUInt64LE(BigInt(offset), sections + index * 64 + 0x18);
    file.writeBigUInt64LE(BigInt(size), sections + index * 64 + 0x20);
  };
  writeSection(1, 1, 64 + names.length, modinfo.length);
  writeSection(2, 10, 64, names.length);
  return file;
}

export const KERNEL_RELEASE = "6.1.0-99-cloud-amd64";

/** A kernel package with the modules that the tiny image wants, and one that is built in. */
export function kernelDeb(): Buffer {
  const module = (path: string, depends: string): TarFile => ({
    path: `./lib/modules/${KERNEL_RELEASE}/kernel/${path}`,
    data: kernelModule(depends),
  });
  return debFile(
    { path: `./boot/vmlinuz-${KERNEL_RELEASE}`, data: "the kernel" },
    { path: `./lib/modules/${KERNEL_RELEASE}/modules.builtin`, data: "kernel/drivers/char/hw_random/rng-core.ko\n" },
    module("drivers/virtio/virtio_pci.ko", "virtio,virtio_ring"),
    module("drivers/virtio/virtio.ko", ""),
    module("drivers/virtio/virtio_ring.ko", ""),
    module("drivers/char/virtio_console.ko", "virtio_ring,virtio"),
    module("drivers/char/hw_random/virtio-rng.ko", "rng-core,virtio"),
    module("drivers/net/virtio_net.ko", "net_failover"),
    module("drivers/net/net_failover.ko", "failover"),
    module("net/core/failover.ko", ""),
    module("drivers/net/vmxnet3.ko", ""),
  );
}

/** Path to content of a whole mirror, below its root. */
export type Archive = Map<string, Buffer>;

export function debianArchive(suite = "bookworm"): Archive {
  const kernel = kernelDeb();
  const busybox = debFile({ path: "./bin/busybox", data: "the busybox" });
  const meta = debFile();
  const paragraphs = [
    paragraph("linux-image-cloud-amd64", meta, `linux-image-${KERNEL_RELEASE}`),
    paragraph(`linux-image-${KERNEL_RELEASE}`, kernel, "kmod, linux-base (>= 4.3~)"),
    paragraph("busybox-static", busybox, ""),
  ];
  const index = gzipSync(paragraphs.join("\n"));
  const release = `Origin: Debian\nSuite: ${suite}\nSHA256:\n ${sha256(index)} ${index.length} main/binary-amd64/Packages.gz\n`;
  const signed = `-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n${release}-----BEGIN PGP SIGNATURE-----\n\nnone\n-----END PGP SIGNATURE-----\n`;
  return new Map([
    [`dists/${suite}/InRelease`, Buffer.from(signed)],
    [`dists/${suite}/main/binary-amd64/Packages.gz`, index],
    [poolPath("linux-image-cloud-amd64"), meta],
    [poolPath(`linux-image-${KERNEL_RELEASE}`), kernel],
    [poolPath("busybox-static"), busybox],
  ]);
}

export function poolPath(name: string): string {
  return `pool/main/${name}_1_amd64.deb`;
}

function paragraph(name: string, deb: Buffer, depends: string): string {
  return [
    `Package: ${name}`,
    "Version: 1",
    "Installed-Size: 1",
    `Depends: ${depends}`,
    `Filename: ${poolPath(name)}`,
    `Size: ${deb.length}`,
    `SHA256: ${sha256(deb)}`,
    "",
  ].join("\n");
}

function sha256(data: Uint8Array): string {
  return createHash("sha256").update(data).digest("hex");
}
