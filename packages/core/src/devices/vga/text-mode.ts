/**
 * What a video BIOS leaves behind, for boots without firmware: text mode 3, its colours and font, an empty screen with the
 * cursor at its beginning.
 */
import { textFont } from "./font.ts";
import { egaPalette, programMode, programPalette, TEXT_MODE } from "./mode-registers.ts";
import { GFX, VGA_PORT as PORT, SEQ } from "./registers.ts";
import { VGA_WINDOW, type Vga } from "./vga.ts";

const TEXT_BUFFER = 0xb_8000 - VGA_WINDOW.start;
const CELLS = 0x4000;
const BLANK = 0x0720;
const FONT = { lines: 16, spacing: 32, plane: 0x04 } as const;

export function startTextMode(vga: Vga): void {
  const { ports, window } = vga;
  const set = (port: number, index: number, value: number): void => {
    ports.write(port, 1, index);
    ports.write(port + 1, 1, value);
  };
  programMode(ports, TEXT_MODE);
  programPalette(ports, egaPalette());
  set(PORT.sequencer, SEQ.MAP_MASK, FONT.plane);
  set(PORT.sequencer, SEQ.MEMORY_MODE, 0x06);
  set(PORT.graphics, GFX.MODE, 0x00);
  set(PORT.graphics, GFX.MISC, 0x04);
  for (const [i, line] of textFont().entries())
    window.write(Math.floor(i / FONT.lines) * FONT.spacing + (i % FONT.lines), 1, line);
  programMode(ports, TEXT_MODE);
  for (let cell = 0; cell < CELLS; cell++) window.write(TEXT_BUFFER + 2 * cell, 2, BLANK);
}
