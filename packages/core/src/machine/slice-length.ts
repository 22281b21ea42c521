/**
 * How many instructions a slice has: as many as take `sliceNs`, as fast as the guest is. Each slice begins with a look at the outside,
 * which costs JavaScript; where nothing has come from there for a while, slices are longer. What a guest does is the same in any slices.
 */
const CALM_AFTER = 8;
const CALM_FACTOR = 3;

export class SliceLength {
  readonly #sliceNs: number;
  readonly #mayGrow: boolean;
  /** Slices since something came from outside or was on its way. */
  #calm = 0;

  /** `mayGrow`: where slices are not long as they are. */
  constructor(sliceNs: number, mayGrow: boolean) {
    this.#sliceNs = sliceNs;
    this.#mayGrow = mayGrow;
  }

  /** Once for each slice. `isBusy`: something comes from outside, or is on its way. */
  look(isBusy: boolean): void {
    this.#calm = isBusy ? 0 : this.#calm + 1;
  }

  /** At least 1. */
  instructions(psPerInstruction: number): number {
    const isCalm = this.#mayGrow && this.#calm > CALM_AFTER;
    const ns = isCalm ? this.#sliceNs * CALM_FACTOR : this.#sliceNs;
    return Math.max(1, Math.floor((ns * 1000) / psPerInstruction));
  }
}
