/**
 * The smallest file that the direct boot takes for a Linux kernel, and a guest for tests on a real engine: 64-bit code
 * that uses the local APIC's periodic timer, the IO-APIC with the UART's receive interrupt, HPET, PM timer and RDTSC,
 * mixes everything it sees into memory, halts now and then, echoes input, and powers off through ACPI after 200 ticks.
 */
import { SETUP_HEADER } from "../firmware/bzimage.ts";

const SETUP_BYTES = 0x800;
const ENTRY_64 = 0x200;
const PAYLOAD_BYTES = 0x1000;

/** Runs `code` in long mode with the first 4 GiB mapped to themselves. */
export function testKernel(code: Uint8Array): Uint8Array {
  const file = new Uint8Array(SETUP_BYTES + PAYLOAD_BYTES);
  const view = new DataView(file.buffer);
  view.setUint8(SETUP_HEADER.setup_sects, 3);
  view.setUint32(SETUP_HEADER.syssize, PAYLOAD_BYTES / 16, true);
  view.setUint16(SETUP_HEADER.boot_flag, 0xaa55, true);
  view.setUint16(SETUP_HEADER.jump, 0x6aeb, true);
  view.setUint32(SETUP_HEADER.header, 0x5372_6448, true);
  view.setUint16(SETUP_HEADER.version, 0x20f, true);
  view.setUint8(SETUP_HEADER.loadflags, 1);
  view.setUint32(SETUP_HEADER.initrd_addr_max, 0x7fff_ffff, true);
  view.setUint32(SETUP_HEADER.kernel_alignment, 0x20_0000, true);
  view.setUint8(SETUP_HEADER.relocatable_kernel, 1);
  view.setUint16(SETUP_HEADER.xloadflags, 0x7f, true);
  view.setUint32(SETUP_HEADER.cmdline_size, 2047, true);
  view.setBigUint64(SETUP_HEADER.pref_address, 0x10_0000n, true);
  view.setUint32(SETUP_HEADER.init_size, 0x10_0000, true);
  file.set(code, SETUP_BYTES + ENTRY_64);
  return file;
}

const fromHex = (lines: readonly string[]): Uint8Array =>
  Uint8Array.from(lines.join("").match(/[0-9a-f]{2}/g) ?? [], (byte) => Number.parseInt(byte, 16));

export const BUSY_GUEST: Uint8Array = fromHex([
  // cli; IDT of 256 empty gates at 0x30000
  "fa bf00000300 31c0 b900020000 f348ab",
  // gate 0x20: timer; gate 0x24: serial; lidt
  "488d05fd000000 bf00020300 e846010000",
  "488d0511010000 bf40020300 e835010000",
  "66c70425f0ff0200ff0f 48c70425f2ff020000000300 0f011c25f0ff0200",
  // local APIC at rbx: SVR on, LINT0 masked, divide by 1, timer periodic on 0x20, every 30011 ns
  "bb0000e0fe c783f0000000ff010000 c7835003000000000100 c783e00300000b000000",
  "c7832003000020000200 c783800300003b750000",
  // IO-APIC at rbp: input 4 to 0x24; UART: receive interrupt on
  "bd0000c0fe c7450018000000 c7451024000000 66baf903 b001 ee",
  // r12d ticks, r13d bytes, r14 mix, r15 buffer; sti
  "4531e4 4531ed 41be45230100",
  "41bf00004000 fb",
  // loop: 61 times: mix r14, add it to the buffer
  "b93d000000 4d69f62df45158 4901ce 4c89f0 48c1e814 25f8ff0000 4d013407 ffc9 75e2",
  // rdtsc, PM timer, HPET counter into r14; hlt if its low three bits are zero
  "0f31 4901c6 66ba0806 ed 4901c6 a1f000d0fe00000000 4901c6 41f6c607 7501 f4",
  // until 200 ticks; then print 'E' and power off
  "4181fcc8000000 72b4 66baf803 b045 ee 66ba0406 66b8003c 66ef f4 ebfd",
  // timer: count; each 16th prints a character of the mix; EOI; iretq
  "50 52 41ffc4 41f6c40f 750c 66baf803 4489f0 243f 0420 ee c783b000000000000000 5a 58 48cf",
  // serial: while there is a byte: read, mix, echo; EOI; iretq
  "50 52 66bafd03 ec a801 7415 66baf803 ec 0fb6c0 41ffc5 4d6bf61f 4901c6 ee ebe2",
  "c783b000000000000000 5a 58 48cf",
  // setgate: rdi gate, rax handler
  "668907 66c747021000 66c74704008e 48c1e810 66894706 48c1e810 894708 c7470c00000000 c3",
]);
