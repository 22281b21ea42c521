/**
 * An assembler for classic BPF, the language of seccomp filters (Linux: Documentation/networking/filter.rst and
 * userspace-api/seccomp_filter.rst, linux/bpf_common.h). As much as a filter of system calls needs: loads from the
 * call's description, AND, comparisons with constants, jumps forward, answers. Programs have no loops, as the kernel
 * wants it. Left out: scratch memory, the index register, arithmetic.
 */

export type BpfTest = "equal" | "greater" | "at-least" | "any-bit";

/** Where to go on: a label further down, or the next step. */
export type BpfTarget = string | undefined;

export type BpfStep =
  /** The accumulator becomes the 32 bits at this offset of the data. */
  | { readonly kind: "load"; readonly offset: number }
  | { readonly kind: "and"; readonly mask: number }
  /** Compares the accumulator with a constant. */
  | {
      readonly kind: "test";
      readonly test: BpfTest;
      readonly value: number;
      readonly yes?: BpfTarget;
      readonly no?: BpfTarget;
    }
  | { readonly kind: "go"; readonly to: string }
  | { readonly kind: "answer"; readonly value: number }
  | { readonly kind: "label"; readonly name: string };

export class BpfError extends Error {
  override readonly name = "BpfError";
}

export const BPF_INSTRUCTION_BYTES = 8;
/** BPF_MAXINSNS */
const MAX_INSTRUCTIONS = 4096;
const MAX_CONDITIONAL_DISTANCE = 255;

/** BPF_LD | BPF_W | BPF_ABS and so on. */
export const BPF_CODE = {
  load: 0x20,
  and: 0x54,
  go: 0x05,
  answer: 0x06,
  equal: 0x15,
  greater: 0x25,
  "at-least": 0x35,
  "any-bit": 0x45,
} as const;

/**
 * struct sock_filter[], ready for the kernel. Throws BpfError for what the kernel would refuse: labels that are missing,
 * twofold or behind, conditional jumps that are too far, too many instructions, an end without an answer.
 */
export function assembleBpf(steps: readonly BpfStep[]): Uint8Array<ArrayBuffer> {
  const labels = new Map<string, number>();
  let count = 0;
  for (const step of steps) {
    if (step.kind !== "label") count++;
    else if (labels.has(step.name)) throw new BpfError(`the label ${step.name} is there twice`);
    else labels.set(step.name, count);
  }
  if (count === 0 || count > MAX_INSTRUCTIONS) throw new BpfError(`${count} instructions: 1 to ${MAX_INSTRUCTIONS}`);
  const last = steps.at(-1)!;
  if (last.kind !== "answer") throw new BpfError("the last step is no answer");
  const bytes = new Uint8Array(new ArrayBuffer(count * BPF_INSTRUCTION_BYTES));
  const view = new DataView(bytes.buffer);
  let at = 0;
  const distance = (target: BpfTarget, most: number): number => {
    if (target === undefined) return 0;
    const to = labels.get(target);
    if (to === undefined) throw new BpfError(`there is no label ${target}`);
    const far = to - at - 1;
    if (far < 0) throw new BpfError(`the label ${target} is behind: there are no loops`);
    if (far > most) throw new BpfError(`the label ${target} is ${far} instructions away, at most ${most} are possible`);
    return far;
  };
  for (const step of steps) {
    if (step.kind === "label") continue;
    const [code, yes, no, value] = encode(step, distance);
    view.setUint16(at * BPF_INSTRUCTION_BYTES, code, true);
    view.setUint8(at * BPF_INSTRUCTION_BYTES + 2, yes);
    view.setUint8(at * BPF_INSTRUCTION_BYTES + 3, no);
    view.setUint32(at * BPF_INSTRUCTION_BYTES + 4, value, true);
    at++;
  }
  return bytes;
}

type Distance = (target: BpfTarget, most: number) => number;

/** Code, distances of both ways, and constant. */
function encode(
  step: Exclude<BpfStep, { kind: "label" }>,
  distance: Distance,
): readonly [number, number, number, number] {
  switch (step.kind) {
    case "load":
      return [BPF_CODE.load, 0, 0, step.offset];
    case "and":
      return [BPF_CODE.and, 0, 0, step.mask];
    case "go":
      return [BPF_CODE.go, 0, 0, distance(step.to, MAX_INSTRUCTIONS)];
    case "answer":
      return [BPF_CODE.answer, 0, 0, step.value];
    case "test": {
      const yes = distance(step.yes, MAX_CONDITIONAL_DISTANCE);
      const no = distance(step.no, MAX_CONDITIONAL_DISTANCE);
      return [BPF_CODE[step.test], yes, no, step.value];
    }
  }
}
