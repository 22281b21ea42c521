/**
 * A folder of the host as what a user network has by TFTP: files in it and below, to be read. A name that leads out of it, by
 * itself or by a link, is no file. GUEST-CONTROLLED: names; and what is in the folder, where it is shared with the guest.
 */
import { constants } from "node:fs";
import { type FileHandle, open, realpath, stat } from "node:fs/promises";
import { join, sep } from "node:path";
import { TFTP_ERROR, TftpError, type TftpFile, type TftpFiles } from "@twinmetal/network";
import { VmError } from "../vm/vm-error.ts";

export class TftpFolder implements TftpFiles {
  /** Without links in it. */
  readonly #root: string;

  private constructor(root: string) {
    this.#root = root;
  }

  /** Rejects with VmError where there is no such folder. */
  static async open(path: string): Promise<TftpFolder> {
    try {
      const root = await realpath(path);
      if ((await stat(root)).isDirectory()) return new TftpFolder(root);
    } catch (error) {
      const why = (error as Error).message;
      throw new VmError("bad-option", `The folder ${path} cannot be read: ${why}. Name another.`, { cause: error });
    }
    throw new VmError("bad-option", `${path} is no folder, and its files cannot be had by TFTP. Name a folder.`);
  }

  async open(name: string): Promise<TftpFile> {
    const parts = name
      .replaceAll("\\", "/")
      .split("/")
      .filter((part) => part !== "" && part !== ".");
    if (parts.length === 0 || parts.includes("..") || name.includes("\0")) throw noFile();
    let file: FileHandle;
    try {
      file = await open(join(this.#root, ...parts), constants.O_RDONLY | constants.O_NONBLOCK);
    } catch (error) {
      throw (error as NodeJS.ErrnoException).code === "EACCES"
        ? new TftpError(TFTP_ERROR.ACCESS, "the file may not be read")
        : noFile();
    }
    try {
      const status = await file.stat();
      // Where it really is, asked of what is open: what a name leads to can change at any time.
      const place = await placeOf(file, join(this.#root, ...parts));
      if (status.isFile() && place.startsWith(this.#root.endsWith(sep) ? this.#root : this.#root + sep)) {
        return new OpenFile(file, status.size);
      }
    } catch {
      // As if there were none.
    }
    await file.close();
    throw noFile();
  }
}

async function placeOf(file: FileHandle, path: string): Promise<string> {
  return await realpath(process.platform === "linux" ? `/proc/self/fd/${file.fd}` : path);
}

function noFile(): TftpError {
  return new TftpError(TFTP_ERROR.NO_FILE, "there is no such file");
}

class OpenFile implements TftpFile {
  readonly #file: FileHandle;
  readonly sizeBytes: number;

  constructor(file: FileHandle, sizeBytes: number) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
  }

  async read(offset: number, bytes: number): Promise<Uint8Array> {
    const block = new Uint8Array(bytes);
    let length = 0;
    for (let got = 1; got > 0 && length < bytes; length += got) {
      got = (await this.#file.read(block, length, bytes - length, offset + length)).bytesRead;
    }
    return block.subarray(0, length);
  }

  close(): void {
    void this.#file.close().catch(() => {});
  }
}
