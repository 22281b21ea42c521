/**
 * What a VM's process answers to a request that it does not do, or what came instead of an answer. `code` is stable: that of
 * the error in the VM's process, or "bad-option", "bad-state", "refused" and "link-lost" of the control socket's own.
 */
import type { MigrationObstacle } from "@twinmetal/core";

export class ControlError extends Error {
  override readonly name = "ControlError";
  readonly code: string;
  /** Of a migration. */
  readonly obstacles: readonly MigrationObstacle[];

  constructor(
    code: string,
    message: string,
    options: { cause?: unknown; obstacles?: readonly MigrationObstacle[] | undefined } = {},
  ) {
    super(message, "cause" in options ? { cause: options.cause } : undefined);
    this.code = code;
    this.obstacles = options.obstacles ?? [];
  }
}

export function badRequest(message: string, cause?: unknown): ControlError {
  return new ControlError("bad-option", message, { cause });
}
