/** Bad usage of the command line: exit status 2, and a pointer to the help. */
export class UsageError extends Error {
  override readonly name = "UsageError";
  readonly code = "usage";
}

/** A failure that is no mistake in the command line: exit status 125 unless given. The message is for people. */
export class CommandError extends Error {
  override readonly name = "CommandError";
  readonly code = "command";
  readonly status: number;

  constructor(message: string, status: number = 125, options?: { cause?: unknown }) {
    super(message, options);
    this.status = status;
  }
}
