/** Threads run the built module, also when this file runs from its source. */
export function workerUrl(name: string): URL {
  const here = import.meta.url;
  return new URL(here.endsWith(".ts") ? `../../dist/vm/${name}.js` : `./${name}.js`, here);
}
