/**
 * Virtio devices for device-fuzz.ts, by virtio-driver.ts. The oracle of the disk's requests: only such as lie on the disk, in whole
 * sectors, and no more than the channel takes.
 */
import { BLOCK_LIMITS } from "../../packages/core/src/devices/block-channel.ts";
import { createVirtioBalloon, VIRTIO_BALLOON_F } from "../../packages/core/src/devices/virtio/balloon.ts";
import { encodeBalloonRequest } from "../../packages/core/src/devices/virtio/balloon-messages.ts";
import { createVirtioBlock } from "../../packages/core/src/devices/virtio/block.ts";
import { createVirtioConsole } from "../../packages/core/src/devices/virtio/console.ts";
import { encodeControl } from "../../packages/core/src/devices/virtio/console-control.ts";
import { createVirtioMem, MEM_CONFIG } from "../../packages/core/src/devices/virtio/mem.ts";
import { encodeBlocks, MEM_BLOCK_BYTES } from "../../packages/core/src/devices/virtio/mem-messages.ts";
import { createVirtioNet } from "../../packages/core/src/devices/virtio/net.ts";
import { BAR_LAYOUT } from "../../packages/core/src/devices/virtio/pci-transport.ts";
import { createVirtioRng } from "../../packages/core/src/devices/virtio/rng.ts";
import { createVirtioVsock } from "../../packages/core/src/devices/virtio/vsock.ts";
import {
  encodePacketMessage,
  encodeTransportReset,
  encodeVsockPacket,
  VSOCK_HEADER_BYTES,
} from "../../packages/core/src/devices/virtio/vsock-packet.ts";
import type { FuzzedDevice } from "./device-fuzz.ts";
import { CARD_MAC, checkSent, networkEvents, someFrame } from "./network-sequences.ts";
import { diskEvents } from "./operations.ts";
import { type Part, target } from "./virtio-driver.ts";

const rng = (isPacked: boolean): FuzzedDevice => ({
  name: isPacked ? "virtio-rng, packed" : "virtio-rng",
  build: (context) =>
    target(context, createVirtioRng(context, { name: "rng0" }), {
      isPacked,
      features: 0x3000_0000,
      queues: 1,
      request: (random, buffer) => ({
        queue: 0,
        parts: Array.from({ length: 1 + random(3) }, () => {
          const sizeBytes = 1 + random(80);
          return { gpa: buffer(sizeBytes), sizeBytes, isWritable: true };
        }),
      }),
    }),
});

const consolePorts: FuzzedDevice = {
  name: "virtio-console",
  build: (context) => {
    const ports = [
      { name: "con", isConsole: true },
      { name: "agent", channel: "agent0" },
    ];
    const device = createVirtioConsole(context, { name: "console0", ports });
    return target(context, device, {
      features: 0x3000_0003,
      queues: 6,
      events: [
        (value) => context.input("con", new Uint8Array(value % 200).fill(value)),
        (value) => context.input("agent0", new Uint8Array(value % 5000).fill(value)),
        (value) => context.input("agent0.ctl", Uint8Array.of(1 + (value % 6), value >> 8, 0, value >> 16, 0)),
        (value) => context.input("con.ctl", Uint8Array.of(3, value, 0, value >> 8, 0)),
      ],
      request: (random, buffer) => {
        // More is said on the control queue than is heard there, so that answers wait.
        const queue = [0, 1, 2, 3, 3, 3, 4, 5][random(8)]!;
        if (queue === 3) {
          const bytes = encodeControl({ port: random(2), event: random(8), value: random(2) });
          return { queue, parts: [{ gpa: buffer(8), sizeBytes: 8, isWritable: false, bytes }] };
        }
        const sizeBytes = 1 + random(100);
        return { queue, parts: [{ gpa: buffer(sizeBytes), sizeBytes, isWritable: queue % 2 === 0 }] };
      },
    });
  },
};

const DISK_BYTES = 2 ** 20;
const block = (isReadOnly: boolean, isPacked = false): FuzzedDevice => ({
  name: `virtio-block${isReadOnly ? ", read-only" : ""}${isPacked ? ", packed" : ""}`,
  build: (context) => {
    const device = createVirtioBlock(context, { name: "disk0", sizeBytes: DISK_BYTES, isReadOnly, queues: 2 });
    const disk = context.disks.get("disk0")!;
    return target(context, device, {
      features: isReadOnly ? 0x3000_1200 : 0x3000_7a00,
      isPacked,
      queues: 2,
      check: () => {
        disk.history.length = 0;
        if (disk.requests.length > BLOCK_LIMITS.requests) throw new Error(`${disk.requests.length} requests under way`);
        for (const { operation, offset, length } of disk.requests) {
          const isSound = offset >= 0 && length >= 0 && offset % 512 === 0 && length % 512 === 0;
          const isAllowed = !isReadOnly || operation === "read" || operation === "flush";
          const isEmpty = offset === 0 && length === 0;
          if (!isSound || !isAllowed || offset + length > DISK_BYTES || (operation === "flush") !== isEmpty)
            throw new Error(`the request ${operation} ${offset}+${length}`);
          const limit = operation === "read" || operation === "write" ? BLOCK_LIMITS.bytes : BLOCK_LIMITS.rangeBytes;
          if (length > limit) throw new Error(`${operation} of ${length} bytes`);
        }
      },
      events: diskEvents(disk),
      request: (random, buffer) => {
        const type = [0, 0, 1, 1, 4, 8, 11, 13][random(8)]!;
        const header = new DataView(new ArrayBuffer(16));
        header.setUint32(0, type, true);
        const sectors = 1 + random(random(4) === 0 ? 32 : 4);
        const isOnDisk = random(4) !== 0;
        const sector = isOnDisk ? random(DISK_BYTES / 512 - sectors + 1) : DISK_BYTES / 512 - random(4);
        if (type < 4) header.setUint32(8, sector, true);
        const parts: Part[] = [
          { gpa: buffer(16), sizeBytes: 16, isWritable: false, bytes: new Uint8Array(header.buffer) },
        ];
        const isRead = type === 0 || type === 8;
        if (type < 4) {
          const whole = 512 * sectors;
          const cut = 512 * random(sectors) + random(512);
          if (cut > 0) parts.push({ gpa: buffer(cut), sizeBytes: cut, isWritable: isRead });
          parts.push({ gpa: buffer(whole - cut), sizeBytes: whole - cut, isWritable: isRead });
        } else if (type === 8) parts.push({ gpa: buffer(20), sizeBytes: 20, isWritable: true });
        else if (type > 8) {
          const ranges = new DataView(new ArrayBuffer(16 * (1 + random(4))));
          for (let at = 0; at < ranges.byteLength; at += 16) {
            ranges.setUint32(at, sector, true);
            ranges.setUint32(at + 8, random(5), true);
            ranges.setUint32(at + 12, type === 13 ? random(2) : 0, true);
          }
          const bytes = new Uint8Array(ranges.buffer);
          parts.push({ gpa: buffer(bytes.length), sizeBytes: bytes.length, isWritable: false, bytes });
        }
        parts.push({ gpa: buffer(1), sizeBytes: 1, isWritable: true });
        return { queue: random(2), parts };
      },
    });
  },
});

const MEM_BLOCKS = 16;
const mem: FuzzedDevice = {
  name: "virtio-mem",
  build: (context) => {
    const start = 64 * MEM_BLOCK_BYTES;
    const region = { start, sizeBytes: MEM_BLOCKS * MEM_BLOCK_BYTES };
    // The region is beyond the memory that the rings lie in, and holds nothing.
    context.memory.discard = (gpa, length) => {
      if (gpa >= start && gpa + length <= start + region.sizeBytes && gpa % MEM_BLOCK_BYTES === 0) return true;
      throw new Error(`the device discards ${length} bytes at 0x${gpa.toString(16)}, outside its region`);
    };
    const device = createVirtioMem(context, { name: "mem0", region });
    /** The most that was asked for; what a copy has at first, it was asked for before. */
    let most: number | undefined;
    const ask = (blocks: number): void => {
      most = Math.max(most ?? 0, Math.min(blocks, MEM_BLOCKS));
      context.input("mem0", encodeBlocks(blocks));
    };
    return target(context, device, {
      features: 0x3000_0000,
      queues: 1,
      check: () => {
        const { device: state } = device.save() as unknown as {
          device: { plugged: Uint8Array; requestedBlocks: number };
        };
        const count = state.plugged.reduce((sum, isPlugged) => sum + isPlugged, 0);
        const told = device.read(BAR_LAYOUT.device + MEM_CONFIG.plugged_size, 4) / MEM_BLOCK_BYTES;
        most = Math.max(most ?? count, state.requestedBlocks);
        if (told !== count || count > most)
          throw new Error(`${count} blocks are plugged, ${told} told, ${most} allowed`);
      },
      events: [(value) => ask(value % 20), (value) => context.input("mem0", new Uint8Array(value % 7))],
      request: (random, buffer) => {
        const request = new DataView(new ArrayBuffer(24));
        const first = random(MEM_BLOCKS + 2) - 1;
        request.setUint16(0, [0, 0, 0, 1, 1, 2, 3, 4][random(8)]!, true);
        request.setBigUint64(8, BigInt(start + first * MEM_BLOCK_BYTES + (random(9) === 0 ? 4096 : 0)), true);
        request.setUint16(16, random(4) === 0 ? random(0x1_0000) : random(MEM_BLOCKS - first + 2), true);
        const parts = [
          { gpa: buffer(24), sizeBytes: 24, isWritable: false, bytes: new Uint8Array(request.buffer) },
          { gpa: buffer(10), sizeBytes: 10, isWritable: true },
        ];
        return { queue: 0, parts };
      },
    });
  },
};

const balloon: FuzzedDevice = {
  name: "virtio-balloon",
  build: (context) => {
    const { STATS_VQ, DEFLATE_ON_OOM, REPORTING } = VIRTIO_BALLOON_F;
    const ask = (request: Parameters<typeof encodeBalloonRequest>[0]): void =>
      context.input("balloon0", encodeBalloonRequest(request));
    return target(context, createVirtioBalloon(context, { name: "balloon0" }), {
      features: 0x3000_0000 | (1 << STATS_VQ) | (1 << DEFLATE_ON_OOM) | (1 << REPORTING),
      queues: 4,
      events: [
        (value) => ask({ kind: "target", pages: value % 32 }),
        () => ask({ kind: "ask" }),
        (value) => context.input("balloon0", Uint8Array.of(1 + (value % 3), value >> 8)),
      ],
      request: (random, buffer) => {
        const queue = random(4);
        if (queue === 3) {
          // Parts of the last pages, where neither rings nor other buffers lie.
          const parts = Array.from({ length: 1 + random(3) }, () => ({
            gpa: 0xe000 + random(0x1000),
            sizeBytes: 1 + random(0x2000),
            isWritable: true,
          }));
          return { queue, parts };
        }
        const count = queue === 2 ? 1 + random(12) : 4 * (1 + random(8));
        const bytes = new Uint8Array(queue === 2 ? 10 * count : count);
        for (let at = 0; at < bytes.length; at += 4) bytes[at] = queue === 2 ? random(256) : 14 + random(4);
        return { queue, parts: [{ gpa: buffer(bytes.length), sizeBytes: bytes.length, isWritable: false, bytes }] };
      },
    });
  },
};

const vsock: FuzzedDevice = {
  name: "virtio-vsock",
  build: (context) => {
    const packet = (isGuest: boolean, value: number, length: number): Uint8Array => {
      const [srcCid, dstCid] = isGuest ? [3, 2] : [2, 3];
      const ports = { srcPort: value % 4, dstPort: (value >> 2) % 4 };
      const words = { type: 1, op: 1 + ((value >> 4) % 7), flags: (value >> 8) % 4, bufAlloc: 4096, fwdCnt: value };
      return encodeVsockPacket({ srcCid, dstCid, ...ports, ...words }, new Uint8Array(length).fill(value));
    };
    return target(context, createVirtioVsock(context, { name: "vsock0", guestCid: 3 }), {
      features: 0x3000_0000,
      queues: 3,
      events: [
        (value) => context.input("vsock0", encodePacketMessage(packet(false, value, value % 300))),
        (value) => context.input("vsock0", encodePacketMessage(packet(false, value, value % 60_000))),
        (value) => value % 4 === 0 && context.input("vsock0", encodeTransportReset()),
        (value) => context.input("vsock0", packet(false, value, value % 100)),
      ],
      request: (random, buffer) => {
        const queue = random(3);
        if (queue !== 1) {
          const sizeBytes = queue === 2 ? 4 : VSOCK_HEADER_BYTES + 1 + random(200);
          return { queue, parts: [{ gpa: buffer(sizeBytes), sizeBytes, isWritable: true }] };
        }
        const bytes = packet(true, random(2 ** 32), random(200));
        return { queue, parts: [{ gpa: buffer(bytes.length), sizeBytes: bytes.length, isWritable: false, bytes }] };
      },
    });
  },
};

const net = (isPacked: boolean): FuzzedDevice => ({
  name: isPacked ? "virtio-net, packed" : "virtio-net",
  build: (context) => {
    const device = createVirtioNet(context, { name: "net0", mac: CARD_MAC, mtu: 1500 });
    const network = context.networks.get("net0")!;
    return target(context, device, {
      isPacked,
      features: 0x3097_99ab,
      queues: 3,
      events: networkEvents(network),
      check: () => checkSent(network, 14 + 4 + 1500),
      request: (random, buffer) => {
        const queue = [0, 0, 0, 1, 1, 2][random(6)]!;
        if (queue === 0) {
          return {
            queue,
            parts: Array.from({ length: 1 + random(2) }, () => {
              const sizeBytes = 16 + random(600);
              return { gpa: buffer(sizeBytes), sizeBytes, isWritable: true };
            }),
          };
        }
        if (queue === 2) {
          const command = [
            [0, random(6), random(2)],
            [1, 1, ...CARD_MAC],
            [1, 0, 1, 0, 0, 0, ...CARD_MAC, 0, 0, 0, 0],
          ][random(3)]!;
          const bytes = Uint8Array.from(command);
          const parts: Part[] = [
            { gpa: buffer(bytes.length), sizeBytes: bytes.length, isWritable: false, bytes },
            { gpa: buffer(1), sizeBytes: 1, isWritable: true },
          ];
          return { queue, parts };
        }
        const header = new DataView(new ArrayBuffer(12));
        const frame = someFrame(random(2 ** 32));
        header.setUint8(0, random(2));
        header.setUint8(1, [0, 0, 1, 4, 0x81, 3][random(6)]!);
        header.setUint16(4, 64 + random(1500), true);
        header.setUint16(6, 34, true);
        header.setUint16(8, [6, 16, random(2000)][random(3)]!, true);
        const bytes = Uint8Array.from([...new Uint8Array(header.buffer), ...frame]);
        return { queue, parts: [{ gpa: buffer(bytes.length), sizeBytes: bytes.length, isWritable: false, bytes }] };
      },
    });
  },
});

export const VIRTIO_DEVICES: readonly FuzzedDevice[] = [
  rng(false),
  rng(true),
  consolePorts,
  block(false),
  block(true),
  block(false, true),
  balloon,
  mem,
  vsock,
  net(false),
  net(true),
];
