/** What is refused before anything is sent to a guest's agent: AGENT_BAD_ARGUMENT. */
import { AgentError } from "./agent-error.ts";

export function checkHostname(name: string): void {
  if (/^[A-Za-z0-9](?:[A-Za-z0-9.-]{0,62})$/.test(name)) return;
  throw new AgentError(
    "AGENT_BAD_ARGUMENT",
    `${JSON.stringify(name)} is no host name: use letters, digits, "-" and ".".`,
  );
}

/** From 1970 to 2106. */
export function checkUnixMs(unixMs: number): void {
  if (Number.isFinite(unixMs) && unixMs >= 0 && unixMs <= 0xffff_ffff * 1000) return;
  throw new AgentError("AGENT_BAD_ARGUMENT", `${unixMs} is not a number of milliseconds from 1970 to 2106.`);
}

export function checkWindow(rows: number, columns: number): void {
  if ([rows, columns].every((value) => Number.isInteger(value) && value > 0 && value <= 0xffff)) return;
  throw new AgentError("AGENT_BAD_ARGUMENT", `A terminal cannot have ${rows} rows and ${columns} columns.`);
}
