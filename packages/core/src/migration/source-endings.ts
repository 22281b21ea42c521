/** How a migration ends that does not: what the target's last words mean, and the errors that are told. */
import { MigrationError, type MigrationObstacle } from "./errors.ts";
import { FRAME, type FramedLink } from "./frames.ts";
import { decodeFailure } from "./messages.ts";

/** For the reason that a peer may have sent before the link ended. */
export const REASON_MS = 500;

export class ReturnedError extends Error {
  readonly reason: string;
  constructor(reason: string) {
    super(reason);
    this.reason = reason;
  }
}

/** RUNNING, or FAILED, by which the target says that it will never run the guest. */
export async function receiveNothingElse(frames: FramedLink, timeoutMs: number): Promise<void> {
  const frame = await frames.receive([FRAME.RUNNING], timeoutMs);
  if (frame.type === FRAME.RUNNING) return;
  if (frame.type === FRAME.FAILED) throw new ReturnedError(decodeFailure(frame.payload, false).message);
  throw new MigrationError("bad-peer", "The other side cancelled what it had agreed to.");
}

/** What the peer may have said before the link ended; else `error`. Closes the link. */
export async function lastWords(frames: FramedLink, error: MigrationError): Promise<MigrationError> {
  try {
    const { type, payload } = await frames.receive([FRAME.ROUND_ACK], REASON_MS);
    return type === FRAME.ROUND_ACK ? error : decodeFailure(payload, type === FRAME.CANCEL);
  } catch {
    return error;
  } finally {
    frames.close();
  }
}

export function refused(obstacles: readonly MigrationObstacle[]): MigrationError {
  const list = obstacles.map(({ message }) => message).join(" ");
  return new MigrationError("refused", `The target does not take the VM: ${list}`, { obstacles });
}

export function notConverging(mayThrottle: boolean): MigrationError {
  return new MigrationError(
    "not-converging",
    `The guest writes memory faster than the link carries it. ${mayThrottle ? "" : "Let it be slowed down, or "}${mayThrottle ? "Allow" : "allow"} a longer stop or more bandwidth.`,
  );
}

export function undecided(why: string): MigrationError {
  return new MigrationError(
    "undecided",
    `The link broke at the last step (${why}) and the target does not answer, so it is not known whether the VM runs there. It stays paused here. Look at the target: if the VM does not run there, and its process has ended, decide "run"; if it runs there, decide "discard".`,
  );
}

export function messageOf(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/\.$/, "");
}
