/**
 * Bugs for the fuzz of devices to find: the rig with all devices as one script, in which one piece of text is another. Each is
 * a check that somebody could forget. `device` is the front-end where it is looked for.
 */
import { build } from "vite";

export interface PlantedBug {
  readonly what: string;
  readonly device: string;
  readonly right: string;
  readonly wrong: string;
}

export const PLANTED_BUGS: readonly PlantedBug[] = [
  {
    what: "a walk along descriptors has no end",
    device: "virtio-rng",
    right: "visited < tableSize",
    wrong: "visited < Infinity",
  },
  {
    what: "a transfer goes over the end of a buffer",
    device: "virtio-block",
    right: "Math.min(part.sizeBytes - skip, wanted - done)",
    wrong: "Math.min(part.sizeBytes - skip + 1, wanted - done)",
  },
  {
    what: "what the device may only read is written",
    device: "virtio-rng",
    right: "if (flags & DESC_F.WRITE) this.writable.push",
    wrong: "if (true) this.writable.push",
  },
  {
    what: "an available entry may name a descriptor behind the table",
    device: "virtio-block",
    right: "head === void 0 || head >= size",
    wrong: "head === void 0",
  },
  {
    what: "a chain may be in flight twice",
    device: "virtio-block",
    right: "if (this.#inFlight.has(head)) return",
    wrong: "if (false) return",
  },
  {
    what: "a buffer of a packed ring may be in flight twice",
    device: "virtio-block, packed",
    right: "if (this.#inFlight.has(id)) return",
    wrong: "if (false) return",
  },
  {
    what: "more of a packed ring may be in flight than it holds",
    device: "virtio-block, packed",
    right: "this.#taken + descriptors.length >= size",
    wrong: "descriptors.length >= size",
  },
  {
    what: "a ring may have a size that is no power of two",
    device: "virtio-rng",
    right: "isRingSize(size, this.maxSize) || isPacked",
    wrong: "true || isPacked",
  },
  {
    what: "a request may end a sector behind the disk",
    device: "virtio-block",
    right: "Number(sector) * SECTOR_BYTES + length <= sizeBytes",
    wrong: "Number(sector) * SECTOR_BYTES + length <= sizeBytes + SECTOR_BYTES",
  },
  {
    what: "one half of a PAM register's memory goes by the other half's bit",
    device: "pci",
    right: "(register & upper) !== 0",
    wrong: "(register & bit) !== 0",
  },
  {
    what: "a transfer may be of half a sector",
    device: "virtio-block",
    right: "length === 0 || length % SECTOR_BYTES !== 0 ||",
    wrong: "length === 0 ||",
  },
  {
    what: "a disk that is read-only is written",
    device: "virtio-block, read-only",
    right: "return disk.isReadOnly ? IOERR :",
    wrong: "return",
  },
  {
    what: "a page that is reported in part is discarded",
    device: "virtio-balloon",
    right: "Math.ceil(gpa / BALLOON_PAGE_BYTES)",
    wrong: "Math.floor(gpa / BALLOON_PAGE_BYTES)",
  },
  {
    what: "pages behind the end of memory are discarded",
    device: "virtio-balloon",
    right: "Math.min(end, segment.start + segment.sizeBytes)",
    wrong: "end",
  },
  {
    what: "blocks behind the end of the region are unplugged",
    device: "virtio-mem",
    right: "first + blocks <= this.#plugged.length",
    wrong: "first <= this.#plugged.length",
  },
  {
    what: "blocks are plugged twice",
    device: "virtio-mem",
    right: "if (state !== MEM_STATE.UNPLUGGED) return MEM_RESPONSE.ERROR;",
    wrong: "",
  },
  {
    what: "more blocks are plugged than were asked for",
    device: "virtio-mem",
    right: "this.#count + end - first > this.#requested",
    wrong: "this.#count > this.#requested",
  },
  {
    what: "the rest of a packet says another length",
    device: "virtio-vsock",
    right: "setUint32(LENGTH_AT, length, true)",
    wrong: "setUint32(LENGTH_AT, length + skip, true)",
  },
  {
    what: "a port's messages wait without bound",
    device: "virtio-console",
    right: "if (last?.value === value) return;",
    wrong: "",
  },
  {
    what: "an NVMe completion queue is written over its end",
    device: "nvme",
    right: "queue.tail = (queue.tail + 1) % queue.entries;",
    wrong: "queue.tail++;",
  },
  {
    what: "NVMe commands are taken whose completion has no room",
    device: "nvme",
    right: "this.pending(queue) + queue.reserved < queue.entries - 1",
    wrong: "true",
  },
  {
    what: "NVMe doorbells take any value",
    device: "nvme",
    right: "else if (value >= queue.entries)",
    wrong: "else if (false)",
  },
  {
    what: "an NVMe list of pages goes on for ever",
    device: "nvme",
    right: "if (left > 0 && list === prp2) return STATUS.INVALID_PRP_OFFSET;",
    wrong: "",
  },
  {
    what: "an IDE command's buffer is as large as its guest says",
    device: "ide",
    right: "Math.min(this.left, BLOCK_LIMITS.copiedBytes)",
    wrong: "this.left",
  },
  {
    what: "an IDE command comes while another is under way",
    device: "ide",
    right: "if (this.#transfer) return;",
    wrong: "",
  },
  {
    what: "a floppy's track has any number of sectors",
    device: "floppy",
    right: "endOfTrack >= sector && endOfTrack <= found.sectors",
    wrong: "endOfTrack >= sector",
  },
  {
    what: "a floppy's heads find sectors behind the last cylinder",
    device: "floppy",
    right: "isReadable && drive.cylinder < CYLINDERS",
    wrong: "isReadable",
  },
  {
    what: "a floppy that is protected is formatted",
    device: "floppy",
    right: "if (drive?.options.isReadOnly) {",
    wrong: "if (false) {",
  },
  {
    what: "a floppy gives more than its DMA channel has room for",
    device: "floppy",
    right: "Math.min(room, buffer.length)",
    wrong: "buffer.length",
  },
  {
    what: "a DMA channel that is masked moves bytes",
    device: "floppy",
    right: "(chip.mask & 1 << (index & 3)) !== 0",
    wrong: "false",
  },
  {
    what: "a flash buffer takes more than it has",
    device: "cfi-flash",
    right: "if (this.#bufferLeft > WRITE_BUFFER_BYTES) this.#failBuffer();",
    wrong: "",
  },
  {
    what: "fw_cfg's position leaves its item",
    device: "fw-cfg",
    right: "this.#offset = Math.min(this.#item.length, this.#offset + length);",
    wrong: "this.#offset += length;",
  },
  {
    what: "the screen moves beyond video memory",
    device: "vga",
    right: "Math.min(r[DISPI.Y_OFFSET], rows - r[DISPI.YRES])",
    wrong: "r[DISPI.Y_OFFSET]",
  },
  {
    what: "the keyboard has more lights than there are",
    device: "i8042",
    right: "this.#leds = value & 7",
    wrong: "this.#leds = value",
  },
  {
    what: "a name may mean the directory above",
    device: "virtio-fs",
    right: 'name !== "." && name !== ".."',
    wrong: 'name !== "."',
  },
  {
    what: "a walk takes names that are none",
    device: "virtio-9p",
    right: "rest.findIndex((name) => !isFileName(name))",
    wrong: "-1",
  },
  {
    what: "a read asks for more than the channel takes",
    device: "virtio-fs",
    right: "const length = Math.min(body.getUint32(16, true), room, FILE_LIMITS.dataBytes);",
    wrong: "const length = body.getUint32(16, true);",
  },
  {
    what: "a node is forgotten more often than it is held",
    device: "virtio-fs",
    right: "Math.max(0, node.references - count)",
    wrong: "node.references - count",
  },
  {
    what: "a frame is longer than its wire takes",
    device: "virtio-net",
    right: "if (this.#isUp && frame.length <= this.#mostBytes(isOffloaded))",
    wrong: "if (this.#isUp)",
  },
  {
    what: "a received frame may be of any length",
    device: "virtio-net",
    right: "if (frame.length < ETHERNET_HEADER_BYTES || frame.length > this.#mostBytes(segmentBytes > 0)) return;",
    wrong: "",
  },
  {
    what: "a card's receive ring has no end",
    device: "e1000",
    right: "if (head >= count || tail >= count) return 0;",
    wrong: "",
  },
  {
    what: "a buffer gets more than its size",
    device: "e1000",
    right: "const part = this.bytes.subarray(at, at + sizeBytes);",
    wrong: "const part = this.bytes.subarray(at);",
  },
  {
    what: "the first processor is taken out",
    device: "cpu-hotplug",
    right: "value & this.#present & ~this.#options.fixed",
    wrong: "value & this.#present",
  },
  {
    what: "a processor is taken out that is not there",
    device: "cpu-hotplug",
    right: "value & this.#present & ~this.#options.fixed",
    wrong: "value & this.#all & ~this.#options.fixed",
  },
  {
    what: "a processor that is gone is still to be told of",
    device: "cpu-hotplug",
    right: "this.#arrived &= ~gone;",
    wrong: "",
  },
  {
    what: "a state has more processors than there is room for",
    device: "cpu-hotplug",
    right: 'reader.int("present", 0, this.#all)',
    wrong: 'reader.int("present", 0, 255)',
  },
  {
    what: "a disk that is taken out stays in its slot",
    device: "disk-bays",
    right: "gone & 1 << index && options.onPlug(index, false)",
    wrong: "false",
  },
  {
    what: "a disk in a bay may end in half a sector",
    device: "disk-bays",
    right: "sizes.some((size) => size % SECTOR_BYTES",
    wrong: "[].some((size) => size % SECTOR_BYTES",
  },
];

type FuzzModule = typeof import("./device-fuzz.ts") & typeof import("./device-sequences.ts");

const ENTRY = "fuzz-entry";

/** The rig and all devices as one module's text. */
export async function bundleFuzz(): Promise<string> {
  const here = (name: string): string => JSON.stringify(new URL(name, import.meta.url).pathname);
  const result = await build({
    configFile: false,
    logLevel: "silent",
    build: { ssr: true, write: false, minify: false, target: "esnext", rollupOptions: { input: ENTRY } },
    plugins: [
      {
        name: ENTRY,
        enforce: "pre",
        resolveId: (id) => (id === ENTRY ? `\0${ENTRY}` : null),
        load: (id) => {
          if (id !== `\0${ENTRY}`) return null;
          return `export * from ${here("./device-fuzz.ts")}; export * from ${here("./device-sequences.ts")};`;
        },
      },
    ],
  });
  const output = (Array.isArray(result) ? result : [result]).flatMap((one) => ("output" in one ? one.output : []));
  return output.map((chunk) => (chunk.type === "chunk" ? chunk.code : "")).join("\n");
}

/** Throws unless what is right is there once. */
export async function loadFuzz(bundle: string, bug?: PlantedBug): Promise<FuzzModule> {
  if (bug && bundle.split(bug.right).length !== 2)
    throw new Error(`"${bug.right}" is there ${bundle.split(bug.right).length - 1} times`);
  const text = bug ? bundle.replace(bug.right, () => bug.wrong) : bundle;
  return (await import(`data:text/javascript;base64,${Buffer.from(text).toString("base64")}`)) as FuzzModule;
}
