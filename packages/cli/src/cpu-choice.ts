/** `--cpu portable-v1,+aes,-rdrand`: the CPU model, and what a VM has beyond it or lacks of it. */
import { CPU_MODELS, checkFeatureChoice } from "@twinmetal/core";
import { UsageError } from "./usage-error.ts";

/** The choice as a machine's spec has it. Throws UsageError. */
export function parseCpu(text: string): readonly string[] {
  const [model = "", ...changes] = text.split(",");
  if (!CPU_MODELS.some((name) => name === model)) {
    throw new UsageError(`there is no CPU model "${model}". Possible: ${CPU_MODELS.join(", ")}.`);
  }
  const entries = changes.map((change) => {
    if (/^[+-]./.test(change)) return change.startsWith("+") ? change.slice(1) : change;
    throw new UsageError(`"${change}" does not say whether to add or to take away: write +${change} or -${change}.`);
  });
  const choice = [...new Set(entries)].sort();
  const wrong = checkFeatureChoice(choice);
  if (wrong !== undefined) throw new UsageError(wrong);
  return choice;
}
