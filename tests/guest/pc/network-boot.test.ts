// iPXE by the virtio card's ROM; the e1000's is in network-boot.long.test.ts.

import { describeNetworkBoot } from "./network-boot.ts";

describeNetworkBoot("virtio", "virtio-net", "tftp");
