// Machine code with labels: bytes go in as they are, references to labels are filled in at the end.

export type CodeMode = 32 | 64;
/** Names a place; made before or after the place is known. */
export type Label = number;

interface Reference {
  readonly at: number;
  readonly label: Label;
  readonly plus: number;
  readonly kind: "relative" | "absolute";
}

export class Assembler {
  readonly mode: CodeMode;
  readonly base: number;
  readonly #bytes: number[] = [];
  readonly #places: (number | undefined)[] = [];
  readonly #references: Reference[] = [];

  constructor(mode: CodeMode, base: number) {
    this.mode = mode;
    this.base = base;
  }

  /** Address of the next byte. */
  get here(): number {
    return this.base + this.#bytes.length;
  }

  emit(...bytes: readonly number[]): void {
    this.#bytes.push(...bytes);
  }

  u32(value: number): void {
    for (let i = 0; i < 32; i += 8) this.#bytes.push((value >>> i) & 0xff);
  }

  label(): Label {
    return this.#places.push(undefined) - 1;
  }

  place(label: Label): void {
    this.#places[label] = this.here;
  }

  /** A new label at the next byte. */
  mark(): Label {
    return this.#places.push(this.here) - 1;
  }

  /** `opcode` and the 32-bit distance to the label. */
  to(label: Label, ...opcode: readonly number[]): void {
    this.emit(...opcode);
    this.#references.push({ at: this.#bytes.length, label, plus: 0, kind: "relative" });
    this.u32(0);
  }

  /** `opcode` and the label's address in four bytes. */
  addressOf(label: Label, ...opcode: readonly number[]): void {
    this.emit(...opcode);
    this.#references.push({ at: this.#bytes.length, label, plus: 0, kind: "absolute" });
    this.u32(0);
  }

  /** `opcode`, ModRM and the label's address plus a constant. */
  absoluteTo(label: Label, plus: number, opcode: readonly number[], reg: number): void {
    this.absolute(opcode, reg, 0);
    this.#references.push({ at: this.#bytes.length - 4, label, plus, kind: "absolute" });
  }

  jump(label: Label): void {
    this.to(label, 0xe9);
  }
  jumpIf(condition: number, label: Label): void {
    this.to(label, 0x0f, 0x80 | condition);
  }
  call(label: Label): void {
    this.to(label, 0xe8);
  }

  /** REX.W where the mode has it. */
  wide(...bytes: readonly number[]): void {
    if (this.mode === 64) this.emit(0x48);
    this.emit(...bytes);
  }

  /** `opcode`, ModRM and an absolute address below 2 GiB. */
  absolute(opcode: readonly number[], reg: number, address: number): void {
    this.emit(...opcode);
    if (this.mode === 64) this.emit((reg << 3) | 4, 0x25);
    else this.emit((reg << 3) | 5);
    this.u32(address);
  }

  addressAt(label: Label): number {
    const place = this.#places[label];
    if (place === undefined) throw new Error(`label ${label} has no place`);
    return place;
  }

  finish(): Uint8Array {
    const bytes = Uint8Array.from(this.#bytes);
    const view = new DataView(bytes.buffer);
    for (const { at, label, plus, kind } of this.#references) {
      const target = this.addressAt(label);
      view.setInt32(at, kind === "absolute" ? target + plus : target - (this.base + at + 4), true);
    }
    return bytes;
  }
}
