/**
 * Guests of a few instructions: files with the header of a Linux kernel (boot protocol 2.15, 64-bit entry) and machine
 * code of our own, so that the VM can be tested without a network and in a moment.
 */
const SETUP_SECTS = 1;
const SETUP_BYTES = (SETUP_SECTS + 1) * 512;
const ENTRY_64 = 0x200;
const PAYLOAD_BYTES = 0x1000;

/** Starts in 64-bit mode at the first byte of `code`, interrupts off, memory mapped one to one. */
export function bareKernel(code: readonly number[]): Uint8Array {
  const file = new Uint8Array(SETUP_BYTES + PAYLOAD_BYTES);
  const view = new DataView(file.buffer);
  view.setUint8(0x1f1, SETUP_SECTS);
  view.setUint32(0x1f4, PAYLOAD_BYTES / 16, true);
  view.setUint16(0x1fe, 0xaa55, true);
  view.setUint16(0x200, 0x6aeb, true);
  view.setUint32(0x202, 0x5372_6448, true);
  view.setUint16(0x206, 0x20f, true);
  view.setUint8(0x211, 1);
  view.setUint32(0x22c, 0x7fff_ffff, true);
  view.setUint32(0x230, 0x20_0000, true);
  view.setUint8(0x234, 1);
  view.setUint16(0x236, 0x7f, true);
  view.setUint32(0x238, 2047, true);
  view.setBigUint64(0x258, 0x20_0000n, true);
  view.setUint32(0x260, 0x1_0000, true);
  file.set(code, SETUP_BYTES + ENTRY_64);
  return file;
}

const MOV_DX_COM1 = [0x66, 0xba, 0xf8, 0x03];
const MOV_DX_LINE_STATUS = [0x66, 0xba, 0xfd, 0x03];
const OUT_DX_AL = 0xee;

/** mov al, c; out dx, al */
function writes(text: string): number[] {
  return [...MOV_DX_COM1, ...[...text].flatMap((c) => [0xb0, c.charCodeAt(0), OUT_DX_AL])];
}

/** SLP_TYP 7 and SLP_EN to PM1_CNT. */
const POWER_OFF = [0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x3c, 0x66, 0xef];
/** hlt, for ever */
const HALT = [0xf4, 0xeb, 0xfd];

export const GUESTS = {
  hello: [...writes("hello, world\n"), ...POWER_OFF, ...HALT],
  /** Interrupts are off: sleeps and cannot be woken. */
  asleep: [...writes("asleep\n"), ...HALT],
  /** jmp to itself */
  spinning: [...writes("spinning\n"), 0xeb, 0xfe],
  /** Writes 0, 1, ... 255, 0, ... without end. */
  flooding: [...MOV_DX_COM1, 0x31, 0xc0, OUT_DX_AL, 0xff, 0xc0, 0xeb, 0xfb],
  /** Polls the serial port and sends each character back; turns itself off at "q". */
  echoing: [
    ...writes("ready\n"),
    ...MOV_DX_LINE_STATUS,
    0xec, // loop: in al, dx
    ...[0xa8, 0x01], // test al, 1
    ...[0x74, 0xfb], // jz loop
    ...MOV_DX_COM1,
    0xec, // in al, dx
    OUT_DX_AL,
    ...[0x3c, 0x71], // cmp al, "q"
    ...[0x75, 0xed], // jne back to MOV_DX_LINE_STATUS
    ...POWER_OFF,
    ...HALT,
  ],
  /** Counts down from 150 million, and adds up what it comes by; then turns itself off. */
  counting: [
    ...writes("counting\n"),
    ...[0xb9, 0x80, 0xd1, 0xf0, 0x08], // mov ecx, 150000000
    ...[0x01, 0xc8], // loop: add eax, ecx
    ...[0xff, 0xc9], // dec ecx
    ...[0x75, 0xfa], // jnz loop
    ...writes("counted\n"),
    ...POWER_OFF,
    ...HALT,
  ],
  /** lidt of an empty table (on the stack), then a breakpoint */
  tripleFaulting: [
    ...writes("falling\n"),
    ...[0xbc, 0x00, 0x00, 0x30, 0x00], // mov esp, 0x300000
    ...[0x6a, 0x00, 0x6a, 0x00], // push 0; push 0
    ...[0x0f, 0x01, 0x1c, 0x24], // lidt [rsp]
    0xcc, // int3
  ],
} as const satisfies Record<string, readonly number[]>;
