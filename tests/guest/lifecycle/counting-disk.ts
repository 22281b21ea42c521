/**
 * A disk whose boot sector counts: it adds one to the word at the start of the next sector, writes that back, and says
 * "#" with the new count in four hexadecimal digits on the serial port. Then it waits for a key, which SeaBIOS
 * takes from the serial port, too: "w" counts again, "q" turns off.
 */
const PACKET = 0x80;
const COUNT_AT = 512;

// prettier-ignore
const COUNTER = [
  ...[0x31, 0xc0, 0x8e, 0xd8, 0x8e, 0xc0], // xor ax, ax; mov ds, ax; mov es, ax
  ...[0xbe, 0x80, 0x7c, 0xb4, 0x42, 0xb2, 0x80, 0xcd, 0x13], // again: mov si, packet; mov ah, 42h; mov dl, 80h; int 13h
  ...[0xff, 0x06, 0x00, 0x80], // inc word [8000h]
  ...[0xbe, 0x80, 0x7c, 0xb8, 0x00, 0x43, 0xb2, 0x80, 0xcd, 0x13], // mov si, packet; mov ax, 4300h; mov dl, 80h; int 13h
  ...[0xba, 0xf8, 0x03, 0xb0, 0x23, 0xee], // mov dx, 3f8h; mov al, "#"; out dx, al
  ...[0xa0, 0x01, 0x80, 0xe8, 0x26, 0x00, 0xa0, 0x00, 0x80, 0xe8, 0x20, 0x00], // both bytes in digits
  ...[0xb0, 0x0a, 0xee], // mov al, 10; out dx, al
  ...[0xfb, 0xf4], // wait: sti; hlt
  ...[0xb4, 0x01, 0xcd, 0x16, 0x74, 0xf8], // mov ah, 1; int 16h; jz wait
  ...[0xb4, 0x00, 0xcd, 0x16], // mov ah, 0; int 16h
  ...[0x3c, 0x77, 0x74, 0xc4, 0x3c, 0x71, 0x75, 0xec], // "w": again; not "q": wait
  ...[0xba, 0x04, 0x06, 0xb8, 0x00, 0x3c, 0xef, 0xeb, 0xe3], // SLP_TYP and SLP_EN to PM1_CNT; wait
  ...[0xd4, 0x10, 0x86, 0xc4, 0xe8, 0x02, 0x00, 0x88, 0xe0], // two digits: aam 16; xchg al, ah; call digit; mov al, ah
  ...[0x3c, 0x0a, 0x1c, 0x69, 0x2f, 0xee, 0xc3], // digit: cmp al, 10; sbb al, 69h; das; out dx, al; ret
];

export function countingDisk(): Uint8Array {
  const disk = new Uint8Array(1024 * 1024);
  disk.set(COUNTER);
  // Of INT 13h's extensions: one sector to or from 0000:8000, the second of the disk.
  disk.set([16, 0, 1, 0, 0x00, 0x80, 0, 0, 1], PACKET);
  disk.set([0x55, 0xaa], 510);
  return disk;
}

/** What a raw counting disk has counted to. */
export function countOf(disk: Uint8Array): number {
  return disk[COUNT_AT]! | (disk[COUNT_AT + 1]! << 8);
}
