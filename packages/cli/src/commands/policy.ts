/** `twinmetal policy check`: what a policy would do to a VM, and why, before anything does. */
import { resolve } from "node:path";
import { defineCommand, type Io } from "../command.ts";
import { EXIT } from "../exit-status.ts";
import { namedVms } from "../named-vms.ts";
import { flag, parseLine } from "../options.ts";
import { type LineUnderPolicy, type PolicyFinding, type RunLine, underPolicy } from "../policy-choice.ts";
import { UsageError } from "../usage-error.ts";
import { type AdmissionFinding, admissionText, defaultPolicyPath, specWords } from "../vm-library.ts";
import { promiseOf, RUN_OPTIONS } from "./run.ts";

export interface Rule extends Omit<PolicyFinding, "outcome"> {
  readonly outcome: PolicyFinding["outcome"] | "met" | "refused";
}

export const POLICY_COMMAND = defineCommand({
  name: "policy",
  summary: "show what a policy would do to a VM, and why",
  usage: "check [NAME | IMAGE] [--explain] [--json] [options of run]",
  text: [
    "What would happen is worked out with the VMs that run now; nothing is started. NAME is a VM of `twinmetal ls`; else the options are those of `twinmetal run`, with -d for one that stays. --explain names each rule, what it looked at, and what came of it. See docs/guide/policies.md.",
    "Status: 0 the VM would be taken, 125 it would not, or the policy is none (the reason is on standard error), 2 bad usage.",
  ],
  options: {
    ...RUN_OPTIONS,
    explain: flag("explain", "Each rule: what it looked at, and what came of it."),
    json: flag("json", "Print it all as one JSON object."),
  },
  examples: [
    ["twinmetal policy check --explain", "what a plain `twinmetal run` would get"],
    ["twinmetal policy check --policy team.json -m 4G --net user --explain", ""],
    ["twinmetal policy check box --json", "a VM that stays, as it would be started"],
  ],
  execute: async (io, line) => {
    const [verb, ...operands] = line.operands;
    if (verb !== "check") throw new UsageError("what about it? Give: twinmetal policy check [NAME | IMAGE] [options]");
    const { name, line: asked, isKept, isMade } = await subject(io, line, operands);
    const found = await underPolicy(io, asked, isKept);
    const wanted = promiseOf(found.line.values);
    const rules = found.policy.admission;
    const admission = await io.library.examineAdmission({ name, wanted, rules });
    const isTaken = admission.every(({ isMet }) => isMet);
    const all: readonly Rule[] = [
      ...found.findings.filter(({ rule }) => !(isMade && rule === "ttlMs")),
      ...admission.map(ruleOf),
    ];
    const verdict = isTaken ? "taken" : "refused";
    if (line.values.json)
      io.stdout.write(`${JSON.stringify({ policy: found.path ?? null, name, verdict, rules: all })}\n`);
    else
      io.stdout.write(
        textOf(found, name, verdict, line.values.explain ? all : all.filter(({ outcome }) => outcome === "refused")),
      );
    return isTaken ? EXIT.OK : EXIT.FAILED;
  },
});

interface Subject {
  readonly name: string;
  readonly line: RunLine;
  readonly isKept: boolean;
  /** It is there, and its time to live with it. */
  readonly isMade: boolean;
}

async function subject(io: Io, line: RunLine, operands: readonly string[]): Promise<Subject> {
  const [first] = operands;
  const { store } = namedVms(io);
  if (first === undefined || !(await store.has(first))) {
    const { name = "vm", detach = false } = line.values;
    return { name, line: { ...line, operands }, isKept: detach, isMade: false };
  }
  const other = Object.keys(line.texts).find((option) => !["explain", "json", "policy"].includes(option));
  if (operands.length > 1 || other !== undefined)
    throw new UsageError(`VM ${first} has its options: leave ${operands[1] ?? `--${other}`} out.`);
  const spec = await store.read(first);
  const given = line.values.policy;
  const named = given === undefined || given === "none" ? given : resolve(given);
  // Paths among its options are seen from there.
  process.chdir(spec.directory);
  const kept = parseLine(RUN_OPTIONS, specWords(spec));
  const values = { ...kept.values, policy: named ?? kept.values.policy };
  return { name: first, line: { ...kept, values }, isKept: true, isMade: true };
}

function ruleOf(finding: AdmissionFinding): Rule {
  const { rule, isMet, running, wanted, most } = finding;
  const [, text = ""] = admissionText(finding).split(/: (.*)/s);
  return { rule: `admission.${rule}`, outcome: isMet ? "met" : "refused", value: { running, wanted, most }, text };
}

function textOf({ path }: LineUnderPolicy, name: string, verdict: "taken" | "refused", rules: readonly Rule[]): string {
  const lines = [
    path === undefined ? `no policy: there is no ${defaultPolicyPath()}, and --policy names none` : `policy ${path}`,
    ...rules.map(({ rule, outcome, text }) => `  ${rule.padEnd(34)} ${outcome.padEnd(8)} ${text}`),
    verdict === "taken" ? `${name} would be started` : `${name} would not be started`,
  ];
  return `${lines.join("\n")}\n`;
}
