/**
 * Guest time as device models see it: nanoseconds since the machine was first powered on, a function of the retired
 * instructions and the logged corrections (docs/architecture.md, "Time"). It never runs backwards and stands still
 * while the machine is paused.
 */

export interface Timer {
  /** Calls back once when guest time reaches `atNs` (at once, at the next boundary, if that is past). Replaces an earlier deadline. */
  arm(atNs: number): void;
  disarm(): void;
  /** The armed deadline, or undefined. */
  readonly deadlineNs: number | undefined;
}

export interface Clock {
  /** Guest nanoseconds since power-on: a number, exact below 2^53 (104 days), then within 2 ns. */
  nowNs(): number;
  /** Guest wall-clock time at power-on, in seconds since 1970 (a field of the VM's spec; the RTC counts from it). */
  readonly epochSeconds: number;
  /** Makes a timer. Callbacks run between two instructions, in order of deadline, then of creation. */
  timer(callback: (deadlineNs: number) => void): Timer;
}
