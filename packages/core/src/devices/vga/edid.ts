/**
 * The monitor's description (VESA Enhanced EDID Standard, release A revision 2: EDID 1.4), one block of 128 bytes: a
 * display of 1024 x 768 at 60 Hz that takes any mode up to 2560 x 1600. Left out: extension blocks.
 */
const BLOCK_BYTES = 128;

export const EDID: Uint8Array = edidBlock();

function edidBlock(): Uint8Array {
  const block = new Uint8Array(BLOCK_BYTES);
  block.set([0x00, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]);
  block.set(manufacturer("TWM"), 8);
  block.set([0x01, 0x00], 10); // Product code; the serial number is 0.
  block.set([0xff, 34, 1, 4], 16); // Model year 2024, EDID 1.4.
  block.set([0xa5, 27, 20, 120, 0x06], 20); // Digital, 8 bits a colour; 27 x 20 cm; gamma 2.2; sRGB, preferred timing.
  block.set([0xee, 0x91, 0xa3, 0x54, 0x4c, 0x99, 0x26, 0x0f, 0x50, 0x54], 25); // sRGB's primaries and white.
  block.set([0x21, 0x08, 0x00], 35); // Established: 640 x 480, 800 x 600, 1024 x 768, all at 60 Hz.
  for (let at = 38; at < 54; at++) block[at] = 1; // No standard timings.
  // 65 MHz; 1024 + 320 dots, 24 before the sync of 136; 768 + 38 lines, 3 before the sync of 6; 270 x 203 mm.
  block.set([0x64, 0x19, 0x00, 0x40, 0x41, 0x00, 0x26, 0x30, 0x18, 0x88, 0x36, 0x00, 0x0e, 0xcb, 0x10, 0, 0, 0x18], 54);
  block.set([0, 0, 0, 0xfd, 0, 50, 125, 30, 160, 40, 0x01, 0x0a, 0x20, 0x20, 0x20, 0x20, 0x20, 0x20], 72);
  block.set([0, 0, 0, 0xfc, 0, ...text("Twinmetal")], 90);
  block.set([0, 0, 0, 0x10], 108);
  block[127] = -block.reduce((sum, byte) => sum + byte, 0) & 0xff;
  return block;
}

/** Three letters of five bits each. */
function manufacturer(name: string): [number, number] {
  const code = [...name].reduce((sum, letter) => (sum << 5) | (letter.charCodeAt(0) - 0x40), 0);
  return [code >> 8, code & 0xff];
}

/** 13 characters: the text, a line feed, blanks. */
function text(value: string): number[] {
  return [...`${value}\n`.padEnd(13)].map((character) => character.charCodeAt(0));
}
