/** What the sandbox of a VM's process holds and what it does not, layer by layer: nothing is left out in silence. */

export type SandboxLayer =
  /** The native calls that everything below is made with. */
  | "native-calls"
  | "no-new-privileges"
  | "capabilities"
  | "user"
  | "system-calls"
  | "files"
  | "memory-dumps"
  | "resources";

export interface SandboxFinding {
  readonly layer: SandboxLayer;
  /** `partly`: it holds for something, and `detail` says for what not. */
  readonly state: "on" | "partly" | "off";
  /** What holds, or why it does not, a whole sentence. */
  readonly detail: string;
}

/** What `strict` insists on: without one of these, code that broke out of a guest could reach what is the user's. */
const ISOLATING: ReadonlySet<SandboxLayer> = new Set([
  "native-calls",
  "no-new-privileges",
  "capabilities",
  "user",
  "system-calls",
  "files",
]);

export type SandboxErrorCode = "sandbox-incomplete";

/** Something isolating is missing, and the caller asked for all of it. */
export class SandboxError extends Error {
  override readonly name = "SandboxError";
  readonly code: SandboxErrorCode = "sandbox-incomplete";
  readonly findings: readonly SandboxFinding[];

  constructor(findings: readonly SandboxFinding[]) {
    const missing = missingLayers(findings).map(({ layer, detail }) => `${layer}: ${detail}`);
    super(`The sandbox is not whole here. ${missing.join(" ")} With --sandbox on the VM runs without these.`);
    this.findings = findings;
  }
}

/** What `strict` refuses to do without. */
export function missingLayers(findings: readonly SandboxFinding[]): readonly SandboxFinding[] {
  return findings.filter(({ layer, state }) => ISOLATING.has(layer) && state !== "on");
}

export function on(layer: SandboxLayer, detail: string): SandboxFinding {
  return { layer, state: "on", detail };
}
export function partly(layer: SandboxLayer, detail: string): SandboxFinding {
  return { layer, state: "partly", detail };
}
export function off(layer: SandboxLayer, detail: string): SandboxFinding {
  return { layer, state: "off", detail };
}
