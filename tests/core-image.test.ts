// The built core module is the one that the sources make: packages/core/src/interp/prebuilt.ts.
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { describe, expect, it } from "vitest";
import { repository } from "./clone.ts";

const built = (name: string) =>
  import(pathToFileURL(join(repository, "packages", "core", "dist", "interp", `${name}.js`)).href);

describe("the prebuilt core module", () => {
  it.each([true, false])("is what the build's own sources make, with shared memory: %s", async (shared) => {
    const { coreModuleBytes } = await built("core");
    const { prebuiltModule } = await built("prebuilt");
    const bytes = prebuiltModule(shared) as Uint8Array<ArrayBuffer>;
    expect(Buffer.from(bytes).equals(Buffer.from(coreModuleBytes(shared)))).toBe(true);
    expect(WebAssembly.validate(bytes)).toBe(true);
  });
});
