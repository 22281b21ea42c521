// A case's bytes as iced decodes them, for as long as somebody looks at them.

import * as iced from "iced-x86";
import type { CpuCase } from "./subject.ts";

const OPTIONS = iced.DecoderOptions.NoMPFX_0FBC | iced.DecoderOptions.NoMPFX_0FBD;

/** What `read` finds; the instruction is gone afterwards. */
export function decodeCase<T>({ code, codeSize, rip }: CpuCase, read: (instruction: iced.Instruction) => T): T {
  const decoder = new iced.Decoder(codeSize ?? 64, code, OPTIONS);
  decoder.ip = rip;
  const instruction = decoder.decode();
  try {
    return read(instruction);
  } finally {
    instruction.free();
    decoder.free();
  }
}
