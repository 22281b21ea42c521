/**
 * Where this user's VMs and what they keep are: $TWINMETAL_HOME, else $XDG_DATA_HOME/twinmetal, else ~/.local/share/twinmetal
 * (XDG Base Directory Specification 0.8).
 */
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

export function dataDirectory(env: Environment = process.env): string {
  const { TWINMETAL_HOME: named, XDG_DATA_HOME: data, HOME: home } = env;
  if (named !== undefined && isAbsolute(named)) return named;
  const base = data !== undefined && isAbsolute(data) ? data : join(home || homedir(), ".local", "share");
  return join(base, "twinmetal");
}
