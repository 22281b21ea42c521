/** What sequences are written in, for all devices: accesses, events and time, and events of a disk. */
import type { AccessSize } from "../../packages/core/src/bus/io.ts";
import type { RegisterRange } from "../../packages/core/src/devices/contract.ts";
import type { FakeDisk } from "../../packages/core/src/devices/fake-context.ts";
import type { Operation, Random } from "./device-fuzz.ts";

export const write = (range: number, offset: number, value: number, size: AccessSize = 1): Operation => ({
  kind: "write",
  range,
  offset,
  size,
  value,
});
export const read = (range: number, offset: number, size: AccessSize = 1): Operation => ({
  kind: "read",
  range,
  offset,
  size,
});
export const event = (number: number, value: number): Operation => ({ kind: "event", event: number, value });
export const time = (ns: number): Operation => ({ kind: "time", ns });
export const pick = <T>(random: Random, choices: readonly T[]): T => choices[random(choices.length)]!;
export const byteRange = (handler: RegisterRange["handler"], length: number): RegisterRange => ({
  handler,
  length,
  sizes: [1],
});

/** Completions of a disk's requests: good, with an error, all but a few, and with bytes of any number, for nobody at times. */
export const diskEvents = (disk: FakeDisk): ((value: number) => void)[] => [
  (value) => disk.requests.length > 0 && disk.complete(value % disk.requests.length, { fill: 0x5a }),
  (value) => disk.requests.length > 0 && disk.complete(value % disk.requests.length, { isOk: value % 4 !== 0 }),
  (value) => {
    while (disk.requests.length > value % 8) disk.complete(0);
  },
  (value) => {
    const bytes = new Uint8Array((value >>> 8) % 700);
    const underWay = disk.requests.findIndex(({ id }) => id === value % 64);
    if (underWay >= 0) disk.complete(underWay, { bytes });
    else disk.deliver({ id: value % 64, isOk: true, bytes });
  },
];
