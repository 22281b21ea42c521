/** What is wrong with a spec: the error, and the checks that all of its parts have in common. */
export type SpecErrorCode =
  | "memory"
  | "cpus"
  | "cpu"
  | "tsc-frequency"
  | "seed"
  | "name"
  | "epoch"
  | "clock"
  | "boot"
  | "firmware"
  | "vga"
  | "devices";

export class SpecError extends Error {
  override readonly name = "SpecError";
  readonly code: SpecErrorCode;

  constructor(code: SpecErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

export function requireOneOf(code: SpecErrorCode, what: string, value: string, choices: readonly string[]): void {
  if (choices.includes(value)) return;
  throw new SpecError(code, `There is no ${what} ${JSON.stringify(value)}. Possible: ${choices.join(", ")}.`);
}

export function isWhole(value: number, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= max;
}
