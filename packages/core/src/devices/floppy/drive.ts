/** A floppy drive: the disk in it, where its heads are, and whether the disk was changed since they last moved. */
import type { StateReader } from "../../state/reader.ts";
import { MAX_DISC_BYTES, parseTrayAction, type TrayState, trayChannel } from "../ahci/cd-tray.ts";
import type { BlockChannel, BlockCompletion } from "../block-channel.ts";
import type { DeviceContext, StateValue } from "../device.ts";
import { RequestsUnderWay } from "../requests-under-way.ts";
import { type FloppyFormat, formatOf } from "./medium.ts";
import type { FloppyPiece } from "./transfer.ts";

const MAX_CYLINDER = 255;

export interface FloppyDriveOptions {
  /** Of the disk's channel. */
  readonly name: string;
  /** 0: the drive is empty. */
  readonly sizeBytes: number;
  readonly isReadOnly: boolean;
}

export class FloppyDrive {
  readonly options: FloppyDriveOptions;
  readonly requests: RequestsUnderWay<FloppyPiece>;
  cylinder = 0;
  #sizeBytes: number;
  #hasChanged = true;

  constructor(context: DeviceContext, options: FloppyDriveOptions, onDone: (completion: BlockCompletion) => void) {
    this.options = options;
    this.#sizeBytes = options.sizeBytes;
    const channel = context.openDisk(options.name, onDone);
    this.requests = new RequestsUnderWay<FloppyPiece>(channel, (id, piece) => submit(channel, id, piece));
    context.onInput(trayChannel(options.name), (bytes) => this.#handle(bytes));
  }

  /** Undefined: no disk, or none that this drive reads. */
  get format(): FloppyFormat | undefined {
    return formatOf(this.#sizeBytes);
  }

  get tray(): TrayState {
    return { isOpen: this.#sizeBytes === 0, isLocked: false, hasDisc: this.#sizeBytes > 0 };
  }

  /** DSKCHG. */
  get hasChanged(): boolean {
    return this.#hasChanged || this.#sizeBytes === 0;
  }

  /** Steps there. A step with a disk in the drive ends DSKCHG. */
  seek(cylinder: number): void {
    const target = Math.min(Math.max(0, cylinder), MAX_CYLINDER);
    if (target !== this.cylinder) this.#hasChanged = this.#sizeBytes === 0;
    this.cylinder = target;
  }

  /** What was under way goes on without anybody. */
  cancel(): void {
    this.requests.resume();
    this.requests.abandon();
  }

  reset(): void {
    this.requests.abandon();
    this.cylinder = 0;
    this.#hasChanged = true;
  }

  save(): { readonly [key: string]: StateValue } {
    const requests = this.requests.save(({ side }) => ({ side }));
    return { cylinder: this.cylinder, sizeBytes: this.#sizeBytes, hasChanged: this.#hasChanged, requests };
  }

  /** All but the requests. Throws StateError. */
  restore(reader: StateReader): void {
    this.cylinder = reader.u8("cylinder");
    this.#sizeBytes = reader.int("sizeBytes", 0, MAX_DISC_BYTES);
    this.#hasChanged = reader.bool("hasChanged");
  }

  /** What puts back the disk that is in the drive now. */
  keepDisk(): () => void {
    const sizeBytes = this.#sizeBytes;
    return () => {
      this.#sizeBytes = sizeBytes;
    };
  }

  #handle(bytes: Uint8Array): void {
    const action = parseTrayAction(bytes);
    if (!action) return;
    this.#sizeBytes = action.kind === "insert" ? action.sizeBytes : 0;
    this.#hasChanged = true;
  }
}

function submit(channel: BlockChannel, id: number, piece: FloppyPiece): boolean {
  const { work, operation, offset, length } = piece;
  if (operation === "write") channel.writeBuffer(length).set(work.part(piece));
  channel.submit({ id, operation, offset, length });
  return true;
}
