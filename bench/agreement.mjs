// Whether the sides computed the same. A section without agreement has no figure, whatever its time.
import { COUNTS_FAILURES } from "./sections.mjs";

/**
 * @param runs [{ label, sections, facts, done }] of one guest image, as protocol.mjs gives them
 * @param wanted the sections that every run should have
 * @returns Map: section (or "the run" of a side) -> why it has no figure
 */
export function refusals(runs, wanted) {
  const refused = new Map();
  for (const { label, done } of runs) if (!done) refused.set(`the run of ${label}`, "did not come to its end");
  const names = new Set([...wanted, ...runs.flatMap(({ facts }) => [...facts.keys()])]);
  for (const name of names) {
    const why = whyRefused(name, runs);
    if (why !== undefined) refused.set(name, why);
  }
  return refused;
}

function whyRefused(name, runs) {
  const said = runs.map(({ label, facts }) => [label, facts.has(name) ? [...facts.get(name)].sort() : undefined]);
  const different = new Set(said.map(([, items]) => items?.join(" ") ?? "missing"));
  if (different.size > 1) return listed(said);
  const [, items] = said[0] ?? [];
  if (items === undefined) return "missing on every side";
  const kinds = items.map((item) => item.split("=")[0]);
  if (new Set(kinds).size < kinds.length) return `more than one result: ${items.join(" ")}`;
  if (kinds.join(" ") !== expectedKinds(name, kinds) || items.includes("out=none"))
    return `not checked: ${items.join(" ")}`;
  if (items.some((item) => item.startsWith("rc=") && item !== "rc=0"))
    return `failed on every side: ${items.join(" ")}`;
  if (name.startsWith("exit of ")) return undefined;
  const untimed = runs.filter(({ sections }) => !sections.has(name)).map(({ label }) => label);
  return untimed.length > 0 ? `never timed on ${untimed.join(", ")}` : undefined;
}

/** Kernels have a checksum, programs a status and a hash, kernels that cannot be hashed and whole processes a status. */
function expectedKinds(name, kinds) {
  if (name.startsWith("exit of ") || COUNTS_FAILURES.includes(name)) return "rc";
  return kinds.includes("checksum") ? "checksum" : "out rc";
}

/** Sides that said the same are named together. */
function listed(said) {
  const byText = new Map();
  for (const [label, items] of said) {
    const text = items?.join(" ") ?? "missing";
    byText.set(text, [...(byText.get(text) ?? []), label]);
  }
  return [...byText].map(([text, labels]) => `${[...new Set(labels)].join(", ")}: ${text}`).join("; ");
}
