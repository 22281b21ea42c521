/** Threads run the built module, also when this file runs from its source. */
export function workerUrl(name: string, folder = "vm"): URL {
  const here = import.meta.url;
  return new URL(here.endsWith(".ts") ? `../../dist/${folder}/${name}.js` : `../${folder}/${name}.js`, here);
}
