/**
 * Routing of port and MMIO accesses to device front-ends. Ports: a table of one entry for each of the 64 Ki ports.
 * MMIO: ranges sorted by address, binary search, the last hit tried first. An access that is wider than a claim
 * accepts, or that runs over its end, is split into smaller ones, low address first, as a chipset does.
 */
import type { AccessSize, IoBus, IoHandler } from "./io.ts";

const PORT_COUNT = 0x1_0000;
const PORT_MASK = 0xffff;

interface Claim {
  readonly start: number;
  readonly end: number;
  readonly handler: IoHandler;
  readonly maxSize: AccessSize;
  readonly name: string;
}

export class BusConflict extends Error {
  override readonly name = "BusConflict";
  readonly code = "bus-conflict";
}

/** An IoBus on which a claim may also fail: for ranges whose place the guest chooses. */
export interface OpenIoBus extends IoBus {
  /** As `claim`, but undefined if the range overlaps another claim or lies outside the bus. */
  tryClaim(
    start: number,
    length: number,
    handler: IoHandler,
    options?: { maxSize?: AccessSize; name?: string },
  ): (() => void) | undefined;
}

abstract class RangeBus implements OpenIoBus {
  protected abstract find(address: number): Claim | undefined;
  protected abstract overlapping(start: number, end: number): Claim | undefined;
  protected abstract add(claim: Claim): void;
  protected abstract remove(claim: Claim): void;
  protected abstract readonly addressEnd: number;

  claim(
    start: number,
    length: number,
    handler: IoHandler,
    options: { maxSize?: AccessSize; name?: string } = {},
  ): () => void {
    const release = this.tryClaim(start, length, handler, options);
    if (release) return release;
    const other = this.overlapping(start, start + length)?.name ?? "the end of the address space";
    const range = `0x${start.toString(16)} to 0x${(start + length - 1).toString(16)}`;
    throw new BusConflict(`${options.name ?? "a device"} cannot have ${range}: it overlaps ${other}`);
  }

  tryClaim(
    start: number,
    length: number,
    handler: IoHandler,
    options: { maxSize?: AccessSize; name?: string } = {},
  ): (() => void) | undefined {
    const end = start + length;
    if (!(start >= 0 && length > 0 && end <= this.addressEnd) || this.overlapping(start, end)) return undefined;
    const claim: Claim = { start, end, handler, maxSize: options.maxSize ?? 4, name: options.name ?? "a device" };
    this.add(claim);
    let held = true;
    return () => {
      if (held) this.remove(claim);
      held = false;
    };
  }

  read(address: number, size: AccessSize): number {
    const claim = this.find(address);
    if (claim !== undefined && size <= claim.maxSize && address + size <= claim.end) {
      const value = claim.handler.read(address - claim.start, size);
      return size === 4 ? value >>> 0 : value & (size === 2 ? 0xffff : 0xff);
    }
    if (size === 1) return 0xff;
    const half = (size >> 1) as AccessSize;
    const low = this.read(address, half);
    return (low | (this.read(address + half, half) << (8 * half))) >>> 0;
  }

  write(address: number, size: AccessSize, value: number): void {
    const claim = this.find(address);
    if (claim !== undefined && size <= claim.maxSize && address + size <= claim.end) {
      claim.handler.write(address - claim.start, size, size === 4 ? value >>> 0 : value & (size === 2 ? 0xffff : 0xff));
      return;
    }
    if (size === 1) return;
    const half = (size >> 1) as AccessSize;
    this.write(address, half, value);
    this.write(address + half, half, value >>> (8 * half));
  }
}

/** The 64 Ki ports. Addresses wrap as the CPU's 16-bit port numbers do. */
export class PortBus extends RangeBus {
  protected readonly addressEnd: number = PORT_COUNT;
  /** Index into `#claims` for each port; 0 is unclaimed. */
  readonly #table = new Uint16Array(PORT_COUNT);
  readonly #claims: (Claim | undefined)[] = [undefined];

  override read(address: number, size: AccessSize): number {
    return super.read(address & PORT_MASK, size);
  }

  override write(address: number, size: AccessSize, value: number): void {
    super.write(address & PORT_MASK, size, value);
  }

  protected find(address: number): Claim | undefined {
    return this.#claims[this.#table[address & PORT_MASK]!];
  }

  protected overlapping(start: number, end: number): Claim | undefined {
    for (let port = start; port < Math.min(end, PORT_COUNT); port++) {
      const claim = this.find(port);
      if (claim) return claim;
    }
    return undefined;
  }

  protected add(claim: Claim): void {
    const free = this.#claims.indexOf(undefined, 1);
    const index = free > 0 ? free : this.#claims.length;
    this.#claims[index] = claim;
    this.#table.fill(index, claim.start, claim.end);
  }

  protected remove(claim: Claim): void {
    this.#claims[this.#claims.indexOf(claim)] = undefined;
    this.#table.fill(0, claim.start, claim.end);
  }
}

/** Memory-mapped ranges anywhere in the guest-physical space. */
export class MmioBus extends RangeBus {
  protected readonly addressEnd: number = 2 ** 52;
  readonly #sorted: Claim[] = [];
  #lastHit: Claim | undefined;

  protected find(address: number): Claim | undefined {
    const last = this.#lastHit;
    if (last !== undefined && address >= last.start && address < last.end) return last;
    const claim = this.#sorted[this.#firstEndingAfter(address)];
    if (claim === undefined || address < claim.start) return undefined;
    this.#lastHit = claim;
    return claim;
  }

  protected overlapping(start: number, end: number): Claim | undefined {
    const claim = this.#sorted[this.#firstEndingAfter(start)];
    return claim !== undefined && claim.start < end ? claim : undefined;
  }

  protected add(claim: Claim): void {
    this.#sorted.splice(this.#firstEndingAfter(claim.start), 0, claim);
  }

  protected remove(claim: Claim): void {
    this.#sorted.splice(this.#sorted.indexOf(claim), 1);
    this.#lastHit = undefined;
  }

  #firstEndingAfter(address: number): number {
    let low = 0;
    let high = this.#sorted.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#sorted[middle]!.end > address) high = middle;
      else low = middle + 1;
    }
    return low;
  }
}
