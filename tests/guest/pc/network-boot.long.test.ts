// iPXE by the e1000's ROM.

import { describeNetworkBoot } from "./network-boot.ts";

describeNetworkBoot("e1000", "82540em", "http");
