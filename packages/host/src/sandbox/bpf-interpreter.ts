/** For tests: runs a program of bpf.ts as the kernel does, on the data that a test gives. Anything else throws. */
import { BPF_CODE, BPF_INSTRUCTION_BYTES } from "./bpf.ts";

export function runBpf(program: Uint8Array<ArrayBuffer>, data: DataView): number {
  const code = new DataView(program.buffer, program.byteOffset, program.byteLength);
  let accumulator = 0;
  for (let at = 0; at < program.length; at += BPF_INSTRUCTION_BYTES) {
    const value = code.getUint32(at + 4, true);
    const jump = (isTrue: boolean): void => {
      at += BPF_INSTRUCTION_BYTES * code.getUint8(at + (isTrue ? 2 : 3));
    };
    switch (code.getUint16(at, true)) {
      case BPF_CODE.load:
        accumulator = data.getUint32(value, true);
        break;
      case BPF_CODE.and:
        accumulator = (accumulator & value) >>> 0;
        break;
      case BPF_CODE.go:
        at += BPF_INSTRUCTION_BYTES * value;
        break;
      case BPF_CODE.answer:
        return value;
      case BPF_CODE.equal:
        jump(accumulator === value);
        break;
      case BPF_CODE.greater:
        jump(accumulator > value);
        break;
      case BPF_CODE["at-least"]:
        jump(accumulator >= value);
        break;
      case BPF_CODE["any-bit"]:
        jump((accumulator & value) !== 0);
        break;
      default:
        throw new Error(`code ${code.getUint16(at, true)} at ${at}`);
    }
  }
  throw new Error("the program has no end");
}
