// Random but consistent FXSAVE images: x87 control, status and tag words, eight registers, MXCSR and XMM.
//
// Consistent means what the CPU itself could have saved: FSW.ES and FSW.B say whether an unmasked exception is
// pending, reserved bits of MXCSR are clear. Pending exceptions are rare, except for instructions about them.

import type { Random } from "./random.ts";
import { FXSAVE } from "./subject.ts";
import { type ElementType, fillElements, integer64, setFloat80 } from "./values.ts";

const FCW_DEFAULT = 0x037f;
const FCW_RESERVED_ONE = 0x0040;
const FSW_ES_AND_B = 0x8080;
const MXCSR_DEFAULT = 0x1f80;

export function fillFxsave(fxsave: Uint8Array, mnemonic: string, lanes: ElementType, random: Random): void {
  const view = new DataView(fxsave.buffer, fxsave.byteOffset, 512);
  fillX87(view, mnemonic.startsWith("f"), random);
  view.setUint32(FXSAVE.MXCSR, mxcsr(random), true);
  fillElements(fxsave.subarray(FXSAVE.XMM, FXSAVE.XMM + 256), lanes, random);
  if (random.oneIn(8)) fxsave.copyWithin(FXSAVE.XMM + 16 * random.below(15), FXSAVE.XMM, FXSAVE.XMM + 16);
}

function mxcsr(random: Random): number {
  if (random.oneIn(4)) return MXCSR_DEFAULT;
  let value = random.oneIn(2) ? MXCSR_DEFAULT : MXCSR_DEFAULT | random.below(64);
  value |= random.below(4) << 13;
  if (random.oneIn(5)) value |= 0x8000;
  if (random.oneIn(5)) value |= 0x0040;
  if (random.oneIn(6)) value = (value & ~0x1f80) | (random.below(64) << 7);
  return value;
}

/** FCW.PC: 01 is reserved, and all of them come in instructions of the x87. */
const PRECISIONS = [0, 2, 3, 3, 3];

function controlWord(isX87: boolean, random: Random): number {
  const precision = isX87 && random.oneIn(12) ? 1 : random.pick(PRECISIONS);
  const word = FCW_RESERVED_ONE | 0x3f | (precision << 8) | (random.below(4) << 10) | (random.below(2) << 12);
  if (!random.oneIn(isX87 ? 3 : 8)) return word;
  // One exception that is not masked, or any.
  return word & ~(random.oneIn(2) ? 1 << random.below(6) : random.below(64));
}

function fillX87(view: DataView, isX87: boolean, random: Random): void {
  const isPlain = random.oneIn(isX87 ? 5 : 3);
  const fcw = isPlain ? FCW_DEFAULT : controlWord(isX87, random);
  let fsw = isPlain ? 0 : (random.below(8) << 11) | (random.below(2) << 14) | (random.below(8) << 8);
  if (!isPlain && random.oneIn(3)) {
    const flags = random.below(128);
    // Only exceptions that are masked are flagged, except where a pending one is wanted.
    fsw |= random.oneIn(isX87 ? 12 : 24) ? flags : flags & (fcw | 0x40) & 0x7f;
  }
  if ((fsw & ~fcw & 0x3f) !== 0) fsw |= FSW_ES_AND_B;
  view.setUint16(FXSAVE.FCW, fcw, true);
  view.setUint16(FXSAVE.FSW, fsw, true);
  view.setUint8(FXSAVE.FTW, tags((fsw >> 11) & 7, isX87, random));
  for (let i = 0; i < 8; i++) {
    const at = FXSAVE.ST + 16 * i;
    if (random.oneIn(isX87 ? 12 : 3)) {
      // What an MMX instruction leaves: exponent and sign all ones.
      view.setBigUint64(at, integer64(random), true);
      view.setUint16(at + 8, 0xffff, true);
    } else if (isX87 && i > 0 && random.oneIn(5)) setNear(view, at, random);
    else setFloat80(view, at, random);
  }
}

/** Registers in use: all, none, any, or as a stack of some depth has them. */
function tags(top: number, isX87: boolean, random: Random): number {
  if (!isX87) return random.pick([0, 0xff, 0xff, random.below(256)]);
  const depth = random.below(9);
  const stack = ((1 << depth) - 1) << top;
  return random.pick([0xff, 0xff, 0xff, 0, random.below(256), (stack | (stack >> 8)) & 0xff]);
}

/** ST(0) again, with another sign, a little more or less, or at another scale. */
function setNear(view: DataView, at: number, random: Random): void {
  const significand = view.getBigUint64(FXSAVE.ST, true);
  const signExponent = view.getUint16(FXSAVE.ST + 8, true);
  const moved = random.oneIn(2) ? 0 : random.below(140) - 70;
  const exponent = Math.min(0x7ffe, Math.max(1, (signExponent & 0x7fff) + moved));
  const special = (signExponent & 0x7fff) === 0x7fff || (signExponent & 0x7fff) === 0;
  view.setBigUint64(at, BigInt.asUintN(64, significand + BigInt(random.below(5) - 2)), true);
  view.setUint16(at + 8, (random.below(2) << 15) | (special ? signExponent & 0x7fff : exponent), true);
}

/** An image for FXRSTOR to load; now and then one that it must refuse. */
export function fxsaveImage(random: Random, mayBeInvalid: boolean): Uint8Array<ArrayBuffer> {
  const image = random.bytes(512) as Uint8Array<ArrayBuffer>;
  fillFxsave(image, "fxrstor", "raw", random);
  const view = new DataView(image.buffer);
  if (mayBeInvalid && random.oneIn(10)) view.setUint32(FXSAVE.MXCSR, random.uint32(), true);
  return image;
}
