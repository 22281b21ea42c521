/** What is known of a disk image, in words: names from an image are a stranger's, and printed without control characters. */

import { formatSize } from "./quantities.ts";
import type { CheckResult, ImageInfo } from "./vm-library.ts";

export function infoText(info: ImageInfo): string {
  const rows: (readonly [string, string])[] = [
    ["file", info.path],
    ["format", info.qcow2 ? `${info.format}, version ${info.qcow2.version}` : info.format],
    ["disk", info.sizeBytes === undefined ? "unknown: this format is not supported" : exactSize(info.sizeBytes)],
    ["takes", formatSize(info.usedBytes)],
  ];
  if (info.qcow2 !== undefined) rows.push(...qcow2Rows(info.qcow2));
  return rows.map(([name, value]) => `${name.padEnd(12)}${value}`).join("\n");
}

function qcow2Rows(qcow2: NonNullable<ImageInfo["qcow2"]>): (readonly [string, string])[] {
  const { backing, clusterBytes, compression, isCorrupt, isDirty, lazyRefcounts, refcountBits, snapshots } = qcow2;
  const counts = `reference counts of ${refcountBits} ${refcountBits === 1 ? "bit" : "bits"}`;
  const rows: (readonly [string, string])[] = [
    ["clusters", `${formatSize(clusterBytes)}, ${counts}${lazyRefcounts ? ", lazy" : ""}, compression ${compression}`],
  ];
  if (backing !== undefined) {
    rows.push([
      "backing",
      `${printable(backing.name)} (${printable(backing.format ?? "format not stated: does not open")})`,
    ]);
  }
  for (const { id, name, takenAtSeconds, vmStateBytes } of snapshots) {
    const state = vmStateBytes > 0 ? `, with ${formatSize(vmStateBytes)} of a VM's state` : "";
    const taken = new Date(takenAtSeconds * 1000).toISOString().replace(".000Z", "Z");
    rows.push(["snapshot", `${printable(id)} ${printable(name)}, ${taken}${state}`]);
  }
  if (isDirty) rows.push(["state", "in use, or not closed: it is looked through when it is opened next"]);
  if (isCorrupt) rows.push(["state", "marked as corrupt: opens for reading only"]);
  return rows;
}

export function checkText(path: string, result: CheckResult): string {
  const { errorCount, leakCount, repairedErrors, repairedLeaks, clusterBytes } = result;
  const lines: string[] = [];
  if (repairedErrors > 0) lines.push(`repaired: ${repairedErrors} reference counts or flags`);
  if (repairedLeaks > 0) lines.push(`given back: ${formatSize(repairedLeaks * clusterBytes)} of leaked space`);
  for (const error of result.errors) lines.push(`error: ${error}`);
  if (errorCount > result.errors.length) lines.push(`and ${errorCount - result.errors.length} errors more`);
  const used = `${formatSize(result.allocatedClusters * clusterBytes)} in use`;
  if (errorCount > 0) lines.push(`${path}: damaged. Restore it from a copy; \`image convert\` saves what can be read.`);
  else if (leakCount > 0)
    lines.push(`${path}: ${formatSize(leakCount * clusterBytes)} leaked, harmless. --repair leaks gives it back.`);
  else lines.push(`${path}: clean, ${used}.`);
  return lines.join("\n");
}

function exactSize(bytes: number): string {
  const short = formatSize(bytes);
  return short === `${bytes} bytes` ? short : `${short} (${bytes} bytes)`;
}

function printable(text: string): string {
  return [...text].map((character) => (character < " " || character === "\x7f" ? "?" : character)).join("");
}
