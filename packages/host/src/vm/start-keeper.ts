/** Starts the process that keeps V8's code of what a VM has left (native-keeper.ts). Nobody waits for it. */
import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";
import { nativeTag } from "./native-code.ts";
import type { TranslationSettings } from "./translation-settings.ts";
import { workerUrl } from "./worker-url.ts";

export function startKeeper(settings: TranslationSettings): void {
  const args = [fileURLToPath(workerUrl("native-keeper")), "keep", JSON.stringify(settings), nativeTag()];
  try {
    const child = spawn(process.execPath, [...process.execArgv, ...args], {
      detached: true,
      stdio: "ignore",
      cwd: settings.directory,
    });
    // Without it the next start is slower.
    child.on("error", () => {});
    child.unref();
  } catch {
    // A process that was locked down starts no other.
  }
}
