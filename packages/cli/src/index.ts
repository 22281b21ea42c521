// The command line's entry: `main` takes the arguments after the program's name and resolves with the
// exit status. Nothing runs yet; `twinmetal` says so.

const EXIT_TWINMETAL_FAILED = 125;

/** Runs one command. Resolves once all output is written; never rejects for anything a user can cause. */
export async function main(_args: readonly string[]): Promise<number> {
  process.stderr.write("twinmetal: this version has no commands yet: see the status table in README.md.\n");
  return EXIT_TWINMETAL_FAILED;
}
