// Completes package-lock.json after `npm install` has written it; run it whenever a dependency changed.
// Packages with native parts name one optional package for each platform. Where the registry in use lacks
// some of them, npm leaves their entries out, and `npm ci` then refuses the file on every platform. This
// adds the missing ones: version, and the platform read from the name, so that npm passes them over
// everywhere else. They carry no integrity hash, because nothing was downloaded.

import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";

const OS = /(?:^|[-/])(aix|android|darwin|freebsd|linux|netbsd|openbsd|openharmony|sunos|win32)(?=-)/;
const CPU = /-(arm64|arm|ia32|loong64|mips64el|ppc64|riscv64|s390x|x64)(?=-|$)/;

const file = fileURLToPath(new URL("../package-lock.json", import.meta.url));
const lock = JSON.parse(readFileSync(file, "utf8"));
const added = [];

for (const [path, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (lock.packages[`${path}/node_modules/${name}`] || lock.packages[`node_modules/${name}`]) continue;
    const os = OS.exec(name)?.[1];
    const cpu = CPU.exec(name)?.[1];
    if (!os || !cpu) {
      // Not a platform's package: npm would try to install it, so a person has to look.
      process.stderr.write(`${name} (optional, wanted by ${path}) is not in the lock file and names no platform\n`);
      process.exitCode = 1;
      continue;
    }
    const libc = /musl/.test(name) ? ["musl"] : /gnu/.test(name) && os === "linux" ? ["glibc"] : undefined;
    const dev = entry.dev || undefined;
    added.push(name);
    lock.packages[`node_modules/${name}`] = { version, cpu: [cpu], dev, libc, optional: true, os: [os] };
  }
}

const paths = Object.keys(lock.packages).sort((a, b) => a.localeCompare(b, "en"));
lock.packages = Object.fromEntries(paths.map((path) => [path, lock.packages[path]]));
writeFileSync(file, `${JSON.stringify(lock, null, 2)}\n`);
process.stdout.write(added.length > 0 ? `added ${added.join(", ")}\n` : "package-lock.json is complete\n");
