/** Lines between the guest and the host, one JSON object each: what a program's tests did, and what it printed. */

export type ReportLine =
  | { readonly kind: "program"; readonly name: string }
  | {
      readonly kind: "test";
      readonly name: string;
      readonly result: "passed" | "failed" | "skipped";
      readonly ms: number;
      /** Why it failed or was skipped. */
      readonly note?: string;
    }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "exit"; readonly name: string; readonly ms: number; readonly note?: string }
  | { readonly kind: "end" };

const MAX_NOTE = 4000;

export function writeLine(line: ReportLine): string {
  const short = (_key: string, value: unknown): unknown =>
    typeof value === "string" && value.length > MAX_NOTE ? `${value.slice(0, MAX_NOTE)}...` : value;
  return `${JSON.stringify(line, short)}\n`;
}

/** Undefined for anything else that may be on the line. */
export function readLine(text: string): ReportLine | undefined {
  if (!text.startsWith("{")) return undefined;
  try {
    const line = JSON.parse(text) as ReportLine;
    return typeof line.kind === "string" ? line : undefined;
  } catch {
    return undefined;
  }
}
