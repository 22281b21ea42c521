/**
 * Where this user's VMs and what they keep are: $TWINMETAL_HOME, else $XDG_DATA_HOME/twinmetal, else ~/.local/share/twinmetal
 * (XDG Base Directory Specification 0.8).
 */
import { createHash } from "node:crypto";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/** Of names outside the folder of VMs: $TWINMETAL_HOME has its own, -DIGEST. */
export function homeSuffix({ TWINMETAL_HOME: home }: Environment = process.env): string {
  return home ? `-${createHash("sha256").update(home).digest("hex").slice(0, 8)}` : "";
}

export function dataDirectory(env: Environment = process.env): string {
  const { TWINMETAL_HOME: named, XDG_DATA_HOME: data, HOME: home } = env;
  if (named !== undefined && isAbsolute(named)) return named;
  const base = data !== undefined && isAbsolute(data) ? data : join(home || homedir(), ".local", "share");
  return join(base, "twinmetal");
}
