// From the runs of each side to figures: a section's first repetition in a VM is cold, the others are warm; a figure is
// the median over all runs; a group's is the geometric mean of its sections' ratios. Below 1, the first side is faster.

export const PHASES = ["cold", "warm"];
export const CLOCKS = ["wall", "cpu"];

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  if (sorted.length === 0) return undefined;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

export function geometricMean(values) {
  if (values.length === 0) return undefined;
  return Math.exp(values.reduce((sum, value) => sum + Math.log(value), 0) / values.length);
}

/**
 * @param runs what protocol.mjs read of one side's runs
 * @returns { section: { wall: { cold: [], warm: [] }, cpu: .. } }: every sample in seconds per operation
 */
export function samplesOf(runs) {
  const samples = {};
  for (const { sections } of runs) {
    for (const [name, times] of sections) {
      samples[name] ??= Object.fromEntries(CLOCKS.map((clock) => [clock, { cold: [], warm: [] }]));
      for (const clock of CLOCKS) {
        const [cold, ...warm] = times[clock];
        samples[name][clock].cold.push(cold);
        // With one repetition there is nothing warm, and the kernels, which warm up by themselves, still have a figure.
        samples[name][clock].warm.push(...(warm.length > 0 ? warm : [cold]));
      }
    }
  }
  return samples;
}

/** The ratio of two sides' medians, or undefined where one of them has no samples. */
export function ratio(samples, reference, name, clock, phase) {
  const of = (side) => median(side?.[name]?.[clock][phase] ?? []);
  const [a, b] = [of(samples), of(reference)];
  return a === undefined || b === undefined ? undefined : a / b;
}

/**
 * @param groups { group: names }
 * @param refused names without a figure: a group that has one of them has no mean
 * @returns { group: { wall: { cold, warm }, cpu: .. , sections } }, undefined in place of what has no figure
 */
export function groupRatios(samples, reference, groups, refused) {
  const means = {};
  for (const [group, names] of Object.entries(groups)) {
    means[group] = { sections: names.length };
    for (const clock of CLOCKS) {
      means[group][clock] = {};
      for (const phase of PHASES) {
        const ratios = names.map((name) =>
          refused.has(name) ? undefined : ratio(samples, reference, name, clock, phase),
        );
        means[group][clock][phase] = ratios.includes(undefined) ? undefined : geometricMean(ratios);
      }
    }
  }
  return means;
}
