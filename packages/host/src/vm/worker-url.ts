/**
 * Of a thread's or process's entry. As modules they lie in this package; the program has all of them in its own few files
 * (tools/program.mjs), which tests run, too, that run this file from its source.
 */
export function workerUrl(name: string, folder = "vm"): URL {
  const here = import.meta.url;
  const folders = here.endsWith(".ts") ? "../../../cli/dist/program" : "..";
  return new URL(`${folders}/${folder}/${name}.js`, here);
}
