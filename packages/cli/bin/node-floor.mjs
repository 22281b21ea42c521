// The oldest Node that Twinmetal runs on, asked before anything newer than that is loaded. Plain
// JavaScript of the oldest kind that modules allow, since it has to run on the Nodes it turns away.

const FLOOR = 20;

/** Null when this Node will do, else what is wrong and what to do about it. */
export function nodeTooOld(version = process.versions.node) {
  if (Number.parseInt(version, 10) >= FLOOR) return null;
  return (
    `twinmetal needs Node ${FLOOR} or newer; this is Node ${version}.\n` +
    "Debian 12's own nodejs package is 18. Install Node 20, 22 or 24 from nodejs.org or with a version manager\n" +
    "(nvm, fnm, volta), open a new shell, check `node --version`, and run the same command again."
  );
}
