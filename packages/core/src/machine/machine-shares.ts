/** A machine's shared folders: their requests (machine-requests.ts) go to what has the files. */
import { FILE_LIMITS, type FileBackend, type FileChannel, type FileCompletion } from "../devices/files/file-channel.ts";
import { MachineRequests } from "./machine-requests.ts";

export class MachineShares extends MachineRequests<FileCompletion> {
  /** Undefined in a replay. Asked at each request. */
  readonly #backend: () => FileBackend | undefined;

  constructor(backend: () => FileBackend | undefined) {
    super("shared folder", FILE_LIMITS.dataBytes);
    this.#backend = backend;
  }

  /** Throws MachineError if the channel has a device. */
  open(channel: string, onDone: (completion: FileCompletion) => void): FileChannel {
    this.listen(channel, onDone);
    return {
      dataBuffer: (length) => this.#backend()?.dataBuffer(channel, length) ?? this.nowhere(length),
      submit: (id, message, dataBytes) => {
        this.begin();
        this.#backend()?.submit(channel, id, message, dataBytes);
      },
    };
  }
}
