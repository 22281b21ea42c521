/** What `twinmetal engine` prints for people; the words are the library's (`explainEngine`). */
import type { EngineExplanation } from "./vm-library.ts";

const WIDTH = 100;
const RING_NAMES = {
  hypervisor: "hypervisor",
  vmProcess: "VM process",
  guestKernel: "guest's kernel",
  guestPrograms: "guest's programs",
} as const;

/** Without a line feed at the end. `translationCache`: where translated code is kept. */
export function engineText(explanation: EngineExplanation, translationCache: string): string {
  const { engine, type, why, rings, cost, improvements, host, kvm } = explanation;
  const { node, v8, cpus, branchHints, sharedMemory } = host;
  const lines = [
    `A VM gets the ${engine} engine here: a hypervisor of type ${type}.`,
    ...wrap(why, "  "),
    "",
    ...Object.entries(RING_NAMES).flatMap(([key, name]) =>
      wrap(rings[key as keyof typeof RING_NAMES], `  ${name.padEnd(18)}`),
    ),
    "",
    ...wrap(cost, "Cost: "),
  ];
  if (improvements.length > 0) lines.push("", "What would make it faster:");
  for (const { reason, remedy, gain } of improvements) lines.push(...wrap(`${reason} ${remedy} ${gain}`, "  - "));
  lines.push(
    "",
    ...wrap(`Node ${node}, V8 ${v8}, ${cpus} CPU${cpus === 1 ? "" : "s"}`, "Host: "),
    ...wrap(`branch hints ${yes(branchHints)}, shared memory ${yes(sharedMemory)}`, "      "),
    ...wrap(translationCache, "Translated code is kept: "),
  );
  if (kvm.facts !== undefined) lines.push(...wrap(kvmFacts(kvm.facts), "KVM:  "));
  return lines.join("\n");
}

function kvmFacts({ hostKernel, module, selfTest }: NonNullable<EngineExplanation["kvm"]["facts"]>): string {
  if (selfTest === undefined) return `Linux ${hostKernel}, module ${module ?? "unknown"}`;
  const loops = `${(selfTest.loopsPerSecond / 1e6).toFixed(1)} million loops a second in ring 0`;
  const exit = selfTest.exitNs > 0 ? `, ${(selfTest.exitNs / 1000).toFixed(1)} us for an exit` : "";
  return `Linux ${hostKernel}, module ${module ?? "unknown"}, ${loops}${exit}`;
}

const yes = (is: boolean): string => (is ? "yes" : "no");

/** Lines of at most WIDTH columns, the first behind `head`, the others as far in. */
function wrap(text: string, head: string): string[] {
  const lines: string[] = [];
  let line = head;
  let isEmpty = true;
  for (const word of text.split(" ")) {
    if (!isEmpty && line.length + 1 + word.length > WIDTH) {
      lines.push(line);
      line = " ".repeat(head.length) + word;
    } else line += isEmpty ? word : ` ${word}`;
    isEmpty = false;
  }
  return [...lines, line];
}
