/**
 * Frames that an AHCI port receives from its drive (Serial ATA 3.2, 10.5), as they lie in the area at PxFB (AHCI 1.3.1,
 * 4.2.1).
 */
import { ATA_STATUS, FIS_BYTES, FIS_INTERRUPT, FIS_TYPE, READY } from "./registers.ts";

interface Answer {
  readonly status: number;
  readonly error: number;
  readonly interrupts: boolean;
}

/** Register, device to host. */
export function registerFrame({ status, error, interrupts }: Answer, count: number, lba = 0): Uint8Array {
  const fis = new Uint8Array(FIS_BYTES);
  fis.set([FIS_TYPE.D2H, interrupts ? FIS_INTERRUPT : 0, status, error]);
  fis.set([lba & 0xff, (lba >>> 8) & 0xff, (lba >>> 16) & 0xff], 4);
  fis[12] = count;
  return fis;
}

/** As after a reset: the signature is that of PxSIG. */
export function signatureFrame(answer: Answer, signature: number): Uint8Array {
  return registerFrame(answer, signature & 0xff, signature >>> 8);
}

export function pioSetupFrame(length: number, interrupts: boolean): Uint8Array {
  const fis = new Uint8Array(FIS_BYTES);
  fis.set([FIS_TYPE.PIO_SETUP, (interrupts ? FIS_INTERRUPT : 0) | 0x20, READY | ATA_STATUS.DRQ, 0]);
  fis[15] = READY;
  fis.set([length & 0xff, (length >>> 8) & 0xff], 16);
  return fis;
}

/** `done`: tags of queued commands. */
export function deviceBitsFrame(bits: number, error: number, done: number): Uint8Array {
  const fis = new Uint8Array(8);
  fis.set([FIS_TYPE.SET_DEVICE_BITS, FIS_INTERRUPT, bits, error]);
  new DataView(fis.buffer).setUint32(4, done >>> 0, true);
  return fis;
}
