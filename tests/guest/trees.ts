/** Trees of files to carry into a guest and out again. */
import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, readlinkSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Small files in folders, with links and different modes. */
export function makeTree(path: string, files: number): void {
  for (let i = 0; i < files; i++) {
    const directory = join(path, `d${i % 23}`, `e${i % 7}`);
    mkdirSync(directory, { recursive: true });
    const content = Buffer.alloc((i * 37) % 9000, createHash("sha256").update(`${i}`).digest());
    writeFileSync(join(directory, `file ${i}.txt`), content, { mode: i % 3 === 0 ? 0o755 : 0o644 });
    if (i % 50 === 0) symlinkSync(`../file ${i}.txt`, join(directory, `link${i}`));
  }
}

/** Every name with what it is, its mode and its content, as one text. */
export function describeTree(path: string): string {
  const lines: string[] = [];
  const visit = (directory: string, name: string): void => {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const [full, shown] = [join(directory, entry.name), `${name}/${entry.name}`];
      if (entry.isSymbolicLink()) lines.push(`${shown} -> ${readlinkSync(full)}`);
      else if (entry.isDirectory()) visit(full, shown);
      else {
        const hash = createHash("sha256").update(readFileSync(full)).digest("hex");
        lines.push(`${shown} ${(statSync(full).mode & 0o777).toString(8)} ${hash}`);
      }
    }
  };
  visit(path, "");
  return lines.sort().join("\n");
}
