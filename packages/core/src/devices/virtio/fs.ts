/**
 * Virtio file system device (virtio 1.2, 5.11): a folder of the host's under a tag, by the FUSE protocol (fuse/, 7.31). A queue
 * for what must not wait, and one for requests. Left out: the notification queue, the DAX window, extended attributes, locks
 * between guests, special files.
 */
import type { DeviceContext } from "../device.ts";
import { stringToBytes } from "../files/file-requests.ts";
import { FuseProtocol } from "./fuse/protocol.ts";
import { VIRTIO_ID } from "./model.ts";
import { VirtioPciDevice } from "./pci-transport.ts";
import { ShareDevice } from "./share-device.ts";

const schema = { id: "virtio-fs", version: 1 } as const;
const QUEUE_SIZE = 256;
const TAG_BYTES = 36;
const REQUEST_QUEUES = 1;

export interface ShareOptions {
  /** Of the device, and of its channel. */
  readonly name: string;
  /** By which the guest mounts it: at most 36 bytes of ASCII. */
  readonly tag: string;
}

export function createVirtioFs(context: DeviceContext, { name, tag }: ShareOptions): VirtioPciDevice {
  const model = {
    id: VIRTIO_ID.FS,
    schema,
    features: 0n,
    queueSizes: [QUEUE_SIZE, QUEUE_SIZE],
    configBytes: TAG_BYTES + 4,
    readConfig: (config: DataView): void => {
      for (const [i, byte] of stringToBytes(tag).subarray(0, TAG_BYTES).entries()) config.setUint8(i, byte);
      config.setUint32(TAG_BYTES, REQUEST_QUEUES, true);
    },
  };
  return new VirtioPciDevice(context, name, (host) => new ShareDevice(context, host, model, new FuseProtocol(), name));
}
