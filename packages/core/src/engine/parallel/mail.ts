/**
 * What a vCPU's thread asks of the machine's thread, where all devices are: one letter at a time, in the mailbox of cells.ts.
 * `ask` waits for the answer; `answer` is called with what the board has for that vCPU. Values of 64 bits are two words.
 */
import type { AccessSize } from "../../bus/io.ts";
import type { VcpuBus } from "../engine.ts";
import type { ParallelCells } from "./cells.ts";

const OPERATION = {
  PORT_READ: 1,
  PORT_WRITE: 2,
  MMIO_READ: 3,
  MMIO_WRITE: 4,
  MSR_READ: 5,
  MSR_WRITE: 6,
  RANDOM: 7,
  FLOAT_ERROR: 8,
  ACKNOWLEDGE: 9,
  SHUTDOWN: 10,
  FAILED: 11,
} as const;
/** Answers. */
const YES = 1;
const NO = 0;

const low = (value: bigint): number => Number(BigInt.asIntN(32, value));
const high = (value: bigint): number => Number(BigInt.asIntN(32, value >> 32n));
const joined = (lowWord: number, highWord: number): bigint => BigInt(lowWord >>> 0) | (BigInt(highWord >>> 0) << 32n);
const address = (lowWord: number, highWord: number): number => (highWord >>> 0) * 2 ** 32 + (lowWord >>> 0);

/** The vCPU's side. `send` returns when the answer is in the words. */
export class DeviceMail {
  readonly #words: Int32Array;
  readonly #send: () => void;

  constructor(cells: ParallelCells, vcpu: number, send: () => void) {
    this.#words = cells.mailWords(vcpu);
    this.#send = send;
  }

  #ask(operation: number, a = 0, b = 0, c = 0, d = 0): Int32Array {
    const words = this.#words;
    words[0] = operation;
    words[1] = a;
    words[2] = b;
    words[3] = c;
    words[4] = d;
    this.#send();
    return words;
  }
  readPort(port: number, size: number): number {
    return this.#ask(OPERATION.PORT_READ, port, size)[1]!;
  }
  writePort(port: number, size: number, value: number): void {
    this.#ask(OPERATION.PORT_WRITE, port, size, value);
  }
  readMmio(gpa: number, size: number): number {
    return this.#ask(OPERATION.MMIO_READ, gpa | 0, gpa / 2 ** 32, size)[1]! >>> 0;
  }
  writeMmio(gpa: number, size: number, value: number): void {
    this.#ask(OPERATION.MMIO_WRITE, gpa | 0, gpa / 2 ** 32, size, value);
  }
  readMsr(index: number): bigint | undefined {
    const answer = this.#ask(OPERATION.MSR_READ, index);
    return answer[0] === YES ? joined(answer[1]!, answer[2]!) : undefined;
  }
  writeMsr(index: number, value: bigint): boolean {
    return this.#ask(OPERATION.MSR_WRITE, index, low(value), high(value))[0] === YES;
  }
  randomBits(): bigint {
    const answer = this.#ask(OPERATION.RANDOM);
    return joined(answer[1]!, answer[2]!);
  }
  floatError(asserted: boolean): boolean {
    return this.#ask(OPERATION.FLOAT_ERROR, asserted ? 1 : 0)[0] === YES;
  }
  /** The vector to deliver, if there still is one. */
  acknowledge(): number | undefined {
    const answer = this.#ask(OPERATION.ACKNOWLEDGE);
    return answer[0] === YES ? answer[1]! : undefined;
  }
  shutdown(): void {
    this.#ask(OPERATION.SHUTDOWN);
  }
  failed(): void {
    this.#ask(OPERATION.FAILED);
  }
}

/** What the machine's thread has for one vCPU. */
export interface MailTarget {
  readonly bus: VcpuBus;
  readMsr(index: number): bigint | undefined;
  writeMsr(index: number, value: bigint): boolean;
  stopped(how: "shutdown" | "failed"): void;
}

/** Answers the letter in `words`. GUEST-CONTROLLED: addresses and values. */
export function answerMail(words: Int32Array, target: MailTarget): void {
  const [operation, a = 0, b = 0, c = 0, d = 0] = words;
  const { bus } = target;
  const value = (result: bigint | undefined): void => {
    words[0] = result === undefined ? NO : YES;
    words[1] = low(result ?? 0n);
    words[2] = high(result ?? 0n);
  };
  switch (operation) {
    case OPERATION.PORT_READ:
      words[1] = bus.readPort(a, b as AccessSize);
      return;
    case OPERATION.PORT_WRITE:
      bus.writePort(a, b as AccessSize, c >>> 0);
      return;
    case OPERATION.MMIO_READ:
      words[1] = bus.readMmio(address(a, b), c as AccessSize);
      return;
    case OPERATION.MMIO_WRITE:
      bus.writeMmio(address(a, b), c as AccessSize, d >>> 0);
      return;
    case OPERATION.MSR_READ:
      value(target.readMsr(a >>> 0));
      return;
    case OPERATION.MSR_WRITE:
      words[0] = target.writeMsr(a >>> 0, joined(b, c)) ? YES : NO;
      return;
    case OPERATION.RANDOM:
      value(BigInt.asUintN(64, bus.randomBits()));
      return;
    case OPERATION.FLOAT_ERROR:
      words[0] = bus.floatError?.(a !== 0) ? YES : NO;
      return;
    case OPERATION.ACKNOWLEDGE: {
      const vector = bus.acknowledgeInterrupt?.();
      words[0] = vector === undefined ? NO : YES;
      words[1] = vector ?? 0;
      return;
    }
    case OPERATION.SHUTDOWN:
      target.stopped("shutdown");
      return;
    default:
      target.stopped("failed");
  }
}
