// Runs a guest in v86: node v86-run.mjs DIRECTORY KERNEL INITRD MIB "COMMAND LINE". The serial port is standard output;
// the process ends with the guest's last line.
import { readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { V86_BIOS, v86Package } from "./v86.mjs";

const [directory, kernel, initrd, mib, cmdline] = process.argv.slice(2);
const build = join(v86Package(directory), "build");
const { V86 } = await import(pathToFileURL(join(build, "libv86.mjs")).href);

function image(file) {
  const { buffer, byteOffset, byteLength } = readFileSync(file);
  return { buffer: buffer.slice(byteOffset, byteOffset + byteLength) };
}

const [bios, vgaBios] = V86_BIOS;
const emulator = new V86({
  wasm_path: join(build, "v86.wasm"),
  memory_size: Number(mib) * 2 ** 20,
  vga_memory_size: 2 * 2 ** 20,
  bios: image(bios),
  vga_bios: image(vgaBios),
  bzimage: image(kernel),
  initrd: image(initrd),
  cmdline,
  autostart: true,
  disable_speaker: true,
  disable_keyboard: true,
  disable_mouse: true,
});

const NEWLINE = 10;
let line = [];
emulator.add_listener("serial0-output-byte", (byte) => {
  line.push(byte);
  if (byte !== NEWLINE) return;
  const bytes = Buffer.from(line);
  line = [];
  writeSync(1, bytes);
  // Later, so that memory can be measured after the last line.
  if (bytes.includes("@@UPTIME")) setTimeout(() => process.exit(0), 500);
});
