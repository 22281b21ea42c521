// How much of the CPU is compared with the host, counted for docs/reference/coverage.md.
//
// A form is one of iced's Code values that exists in 64-bit mode with legacy encoding, or with VEX encoding on general
// registers, its register and its memory variant apart. What only other modes have is not counted; compatibility.ts
// has it. Cases are those that decode to exactly the form, in a run of tests/cpu/host-cpu.test.ts with both seeds.

import { BINDING } from "./binding.ts";
import { allForms, type Form, whyNotComparable } from "./forms.ts";
import { CASES_PER_FORM, CaseGenerator } from "./generate.ts";

/** Cases of one seed in CI. */
export const CI_CASES = 20_000;
const CI_SEEDS = 2;

/** Beyond portable-v1, by iced's names: a VM has them only if its spec asks for them. */
const OPT_IN: ReadonlySet<string> = new Set([
  ...["ADX", "AES", "PCLMULQDQ", "SHA", "CLFLUSHOPT", "INVPCID", "MONITOR", "RDPID", "RDSEED", "SMAP"],
]);

export interface FeatureCoverage {
  readonly feature: string;
  readonly isPortable: boolean;
  readonly forms: number;
  readonly withRecord: number;
  readonly compared: number;
  /** Of the form that has the fewest. */
  readonly fewestCases: number;
}

export interface Uncompared {
  readonly reason: string;
  readonly forms: readonly string[];
}

export interface Coverage {
  readonly features: readonly FeatureCoverage[];
  readonly uncompared: readonly Uncompared[];
}

function featureOf({ features }: Form): string {
  const last = features.at(-1) ?? "INTEL8086";
  return /^(INTEL\d+|X64)$/.test(last) ? "general" : /^FPU/.test(last) ? "FPU" : last;
}

const nameOf = ({ name, variant }: Form): string => (variant === "plain" ? name : `${name} ${variant}`);

export function coverage(): Coverage {
  const { features, without } = BINDING;
  const forms = allForms().filter((form) => form.features.every((feature) => features.has(feature)));
  const counts = new Map<Form, number>();
  const generator = new CaseGenerator("coverage", { features, without });
  for (const { form } of generator.cases(CI_CASES)) if (form !== null) counts.set(form, (counts.get(form) ?? 0) + 1);
  const hasRecord = (form: Form): boolean => !without.some((pattern) => pattern.test(form.name));
  const isCompared = (form: Form): boolean => (counts.get(form) ?? 0) >= CASES_PER_FORM;

  const names = [...new Set(forms.map(featureOf))].sort();
  const rows = names.map((feature): FeatureCoverage => {
    const own = forms.filter((form) => featureOf(form) === feature);
    const compared = own.filter(isCompared);
    return {
      feature,
      isPortable: !OPT_IN.has(feature),
      forms: own.length,
      withRecord: own.filter(hasRecord).length,
      compared: compared.length,
      fewestCases: compared.length === 0 ? 0 : CI_SEEDS * Math.min(...compared.map((form) => counts.get(form)!)),
    };
  });
  const reasons = new Map<string, string[]>();
  for (const form of forms) {
    if (isCompared(form)) continue;
    const reason = whyNotComparable(form.name) ?? (hasRecord(form) ? "too few cases" : "no record");
    reasons.set(reason, [...(reasons.get(reason) ?? []), nameOf(form)]);
  }
  return {
    features: rows,
    uncompared: [...reasons].sort(([a], [b]) => (a < b ? -1 : 1)).map(([reason, list]) => ({ reason, forms: list })),
  };
}
