// docs/hardware.md, made from the header of each device model's file: what it is, by which specification, and what is left out.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

const SOURCES = join(import.meta.dirname, "..", "packages", "core", "src");
/** Parts of the chipset, whose state is their configuration space. */
const CHIPSET = ["bus/pci/host-bridge.ts", "bus/pci/lpc-bridge.ts"];
const CHIPSET_STATE = `("pci-function", 1)`;

const HEAD = `# Hardware

The devices of a VM, as the models' own files describe them. Made by \`npm run reference\`; a test holds this page up to date.
"State" is the schema and version under which the device is saved. A device is supported as its specification has it, but for
what "Left out" names. How they are put together: \`packages/core/src/machine/board.ts\`, with addresses and interrupts in
\`board-map.ts\`.

| Model | State | What it is | Left out |
| --- | --- | --- | --- |
`;

const ON_KVM = `
## On the kvm engine

The same devices, run by the same code; what a guest does with them leaves guest mode. The VGA's window below 1 MiB and a
firmware's flash are no memory slots of KVM's, so each access is an exit; the flash's reads, too. Firmware's ROM is a read-only
slot. How far each is proven there: [kvm.md](kvm.md).
`;

const NOT_OFFERED = `
## Not offered, because

| Hardware | Reason |
| --- | --- |
| System-management mode | SeaBIOS and OVMF do without it, and a guest that could reach it could hide from the VM's owner. Secure Boot, which needs it to guard its variables, is not offered either. |
| Sleep states S3 and S4 | A VM is paused and saved by its owner, with every device's state. |
| Parallel port | Nothing that is installed today prints by it. The DMA controllers are there with a floppy drive, which is their only user. |
| virtio: ORDER_PLATFORM, NOTIFICATION_DATA, RING_RESET, IN_ORDER | Memory is coherent, so that stronger barriers would only cost the driver; a device finds in the ring what a notification could say; and no driver resets one queue of the devices that are here. |
| USB, sound | Not there yet. |
`;

interface Model {
  readonly file: string;
  readonly state: string;
  readonly what: string;
  readonly leftOut: string;
}

export function hardwarePage(): string {
  const models = [...deviceFiles(), ...CHIPSET].map(modelOf).sort((a, b) => (a.what < b.what ? -1 : 1));
  const rows = models.map(
    ({ file, state, what, leftOut }) => `| \`${file}\` | ${state} | ${escaped(what)} | ${escaped(leftOut)} |`,
  );
  return `${HEAD}${rows.join("\n")}\n${ON_KVM}${NOT_OFFERED}`;
}

function deviceFiles(): string[] {
  return ["devices", "bus/pci", "machine"]
    .flatMap((folder) => readdirSync(join(SOURCES, folder), { recursive: true }).map((file) => `${folder}/${file}`))
    .filter((file) => file.endsWith(".ts") && !/test|fake/.test(file))
    .map((file) => file.replaceAll("\\", "/"))
    .filter((file) => SCHEMA.test(readFileSync(join(SOURCES, file), "utf8")));
}

const SCHEMA = /schema\b[^\n]*= \{ id: "([a-z0-9-]+)", version: (\d+) \}/;

function modelOf(file: string): Model {
  const source = readFileSync(join(SOURCES, file), "utf8");
  const comment = /^\/\*\*(.*?)\*\//s.exec(source)?.[1] ?? "";
  const lines = comment.split("\n").map((line) => line.replace(/^\s*\*? ?/, ""));
  const paragraphs = lines.join("\n").trim().split("\n\n");
  const [first = ""] = paragraphs;
  const last = paragraphs.find((paragraph) => paragraph.includes("Left out:")) ?? "";
  const leftOut = /Left out: (.*?)(?:\.(?= [A-Z])|\.?$)/.exec(last.replace(/\s+/g, " "))?.[1] ?? "";
  const schema = SCHEMA.exec(source);
  return {
    file: file.replace(/^devices\//, ""),
    state: schema ? `("${schema[1]}", ${schema[2]})` : CHIPSET_STATE,
    what: first.replace(/\s+/g, " ").replace(/ ?Left out:.*$/, ""),
    leftOut,
  };
}

const escaped = (text: string): string => text.replaceAll("|", "\\|");
