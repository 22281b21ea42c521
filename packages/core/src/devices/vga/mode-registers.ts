/**
 * Values of all registers for a standard mode (PS/2 Hardware Interface Technical Reference, "Video subsystem", mode
 * tables), and writing them through the ports as a BIOS does.
 */
import type { IoHandler } from "../../bus/io.ts";
import { ATTR_INDEX, CRTC, VGA_PORT as PORT, PROTECT } from "./registers.ts";

export interface ModeRegisters {
  readonly misc: number;
  readonly sequencer: readonly number[];
  readonly crtc: readonly number[];
  readonly graphics: readonly number[];
  readonly attribute: readonly number[];
}

/** Mode 3: text, 80 by 25 characters of 9 by 16 dots, 16 colours. */
export const TEXT_MODE: ModeRegisters = {
  misc: 0x67,
  sequencer: bytes("03 00 03 00 02"),
  crtc: bytes("5f 4f 50 82 55 81 bf 1f 00 4f 0d 0e 00 00 00 00 9c 8e 8f 28 1f 96 b9 a3 ff"),
  graphics: bytes("00 00 00 00 00 10 0e 00 ff"),
  attribute: bytes("00 01 02 03 04 05 14 07 38 39 3a 3b 3c 3d 3e 3f 0c 00 0f 08 00"),
};

export function programMode(ports: IoHandler, mode: ModeRegisters): void {
  const out = (offset: number, value: number): void => ports.write(offset, 1, value);
  const bank = (port: number, values: readonly number[]): void => {
    for (const [index, value] of values.entries()) {
      out(port, index);
      out(port + 1, value);
    }
  };
  out(PORT.misc, mode.misc);
  bank(PORT.sequencer, mode.sequencer);
  const crtc = mode.misc & 1 ? PORT.colorCrtc : PORT.monoCrtc;
  out(crtc, CRTC.RETRACE_END);
  out(crtc + 1, mode.crtc[CRTC.RETRACE_END]! & ~PROTECT);
  bank(crtc, mode.crtc);
  bank(PORT.graphics, mode.graphics);
  ports.read(mode.misc & 1 ? PORT.colorStatus : PORT.monoStatus, 1);
  for (const [index, value] of mode.attribute.entries()) {
    out(PORT.attribute, index);
    out(PORT.attribute, value);
  }
  out(PORT.attribute, ATTR_INDEX.ADDRESS_SOURCE);
}

/** Components of six bits each, from entry 0 on. */
export function programPalette(ports: IoHandler, components: readonly number[]): void {
  ports.write(PORT.pelMask, 1, 0xff);
  ports.write(PORT.dacWriteIndex, 1, 0);
  for (const value of components) ports.write(PORT.dacData, 1, value);
}

/** The EGA's 64 colours: bits 2:0 of an index are the strong red, green and blue, bits 5:3 the weak ones. */
export function egaPalette(): number[] {
  return Array.from({ length: 64 }, (_, i) =>
    [4, 2, 1].map((bit) => (i & bit ? 0x2a : 0) + (i & (bit << 3) ? 0x15 : 0)),
  ).flat();
}

function bytes(text: string): number[] {
  return text.split(" ").map((digits) => Number.parseInt(digits, 16));
}
