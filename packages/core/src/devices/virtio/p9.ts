/**
 * Virtio 9P transport (device type 9; Linux: net/9p/trans_virtio.c): a folder of the host's under a mount tag, by 9P2000.L
 * (p9/). One queue, of which each chain is a message and the room for its answer. The specification has the type's number only.
 * Left out: dialects other than .L, extended attributes, locks between guests, special files.
 */
import type { DeviceContext } from "../device.ts";
import { stringToBytes } from "../files/file-requests.ts";
import type { ShareOptions } from "./fs.ts";
import { VIRTIO_ID } from "./model.ts";
import { Protocol9p } from "./p9/protocol.ts";
import { VirtioPciDevice } from "./pci-transport.ts";
import { ShareDevice } from "./share-device.ts";

const schema = { id: "virtio-9p", version: 1 } as const;
const VIRTIO_9P_MOUNT_TAG = 0;
const QUEUE_SIZE = 128;

export function createVirtio9p(context: DeviceContext, { name, tag }: ShareOptions): VirtioPciDevice {
  const model = {
    id: VIRTIO_ID.P9,
    schema,
    features: 1n << BigInt(VIRTIO_9P_MOUNT_TAG),
    queueSizes: [QUEUE_SIZE],
    configBytes: 2 + tag.length,
    readConfig: (config: DataView): void => {
      config.setUint16(0, tag.length, true);
      for (const [i, byte] of stringToBytes(tag).entries()) config.setUint8(2 + i, byte);
    },
  };
  return new VirtioPciDevice(context, name, (host) => new ShareDevice(context, host, model, new Protocol9p(), name));
}
