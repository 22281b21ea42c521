/**
 * Which engine a VM gets on this host, as something to read and something to compute with: type 1 or 2, who runs in which
 * ring, what it costs, and what would make it faster. The findings are the probe's (kvm/probe.ts); the costs are those of
 * docs/specification.md. docs/rings.md tells the same at length.
 */
import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { type KvmFindingCode, type KvmProbe, probeKvm } from "../kvm/probe.ts";

export type EngineKind = "jit" | "kvm";

/** Who runs where. "Ring" is the processor's own, as the host has it or as guest mode has it. */
export interface EngineRings {
  readonly hypervisor: string;
  readonly vmProcess: string;
  readonly guestKernel: string;
  readonly guestPrograms: string;
}

export interface EngineImprovement {
  readonly code: KvmFindingCode | "asked-for-jit" | "node-version";
  /** What is the matter, a whole sentence. */
  readonly reason: string;
  /** What to do about it, a whole sentence. */
  readonly remedy: string;
  /** What that would bring, a whole sentence. */
  readonly gain: string;
}

/** What an engine meets on this host. */
export interface EngineHost {
  readonly node: string;
  readonly v8: string;
  readonly cpus: number;
  /** V8 takes hints about branches in WebAssembly: translated code is laid out better. */
  readonly branchHints: boolean;
  readonly sharedMemory: boolean;
}

export interface EngineExplanation {
  readonly engine: EngineKind;
  /** 1: on the hardware's virtualisation. 2: a program like any other. */
  readonly type: 1 | 2;
  /** Why this one: whole sentences. */
  readonly why: string;
  readonly rings: EngineRings;
  readonly cost: string;
  /** Of the most effect first; empty where there is nothing to be done. */
  readonly improvements: readonly EngineImprovement[];
  /** For the start of a VM that runs slower than it could: one line. */
  readonly notice: string | undefined;
  readonly host: EngineHost;
  readonly kvm: KvmProbe;
}

export interface ExplainOptions {
  /** Default: "auto", the quicker one of those that are usable. A "kvm" that is not usable is explained as jit. */
  readonly wanted?: "auto" | EngineKind;
  /** Default: asked now, which takes up to about 50 ms. */
  readonly probe?: KvmProbe;
  readonly host?: EngineHost;
}

/** Never throws. */
export function explainEngine(options: ExplainOptions = {}): EngineExplanation {
  const { wanted = "auto", probe = probeKvm(), host = engineHost() } = options;
  const engine = chooseEngine(wanted, probe);
  const improvements = engine === "kvm" ? [] : [...kvmImprovements(wanted, probe), ...nodeImprovements(host)];
  const about = engine === "kvm" ? ON_KVM : ON_JIT;
  return {
    engine,
    ...about,
    why: whyOf(engine, wanted, probe),
    cost: engine === "kvm" ? kvmCost(probe) : about.cost,
    improvements,
    notice: noticeOf(improvements, probe),
    host,
    kvm: probe,
  };
}

/** What `auto` means, in one place. */
export function chooseEngine(wanted: "auto" | EngineKind, probe: KvmProbe): EngineKind {
  if (wanted === "jit" || !probe.isUsable) return "jit";
  return wanted === "kvm" || probe.isWorthwhile ? "kvm" : "jit";
}

const ON_JIT: Pick<EngineExplanation, "type" | "rings" | "cost"> = {
  type: 2,
  rings: {
    hypervisor: "host's ring 3: TypeScript in a thread of this Node process",
    vmProcess: "host's ring 3: Node; the host's kernel knows nothing of the VM",
    guestKernel: "host's ring 3: interpreted or translated to WebAssembly; its ring 0 is a number in the VM's state",
    guestPrograms: "host's ring 3: likewise; their ring 3 is that number, too",
  },
  cost: "Loops take about 5 times as long as on the processor itself, whole programs about 12 times, and 17 times when they have only just started. Booting takes seconds. The first seconds of new code cost a second CPU, which translates.",
};

const ON_KVM: Pick<EngineExplanation, "type" | "rings" | "cost"> = {
  type: 1,
  rings: {
    hypervisor: "host's ring 0: KVM in Linux's kernel; the devices and all decisions in ring 3, in TypeScript",
    vmProcess: "host's ring 3: Node, which asks KVM to run the guest and answers for its devices",
    guestKernel: "ring 0 of guest mode: on the processor itself",
    guestPrograms: "ring 3 of guest mode: on the processor itself",
  },
  cost: "Guest code runs at the processor's own speed.",
};

function kvmCost({ facts }: KvmProbe): string {
  const { exitNs = 0, loopsPerSecond = 0 } = facts?.selfTest ?? {};
  if (exitNs === 0) return ON_KVM.cost;
  const millions = Math.round(loopsPerSecond / 1e6);
  return `${ON_KVM.cost} Each access to a device leaves guest mode, which takes ${microseconds(exitNs)} here. Measured now: ${millions} million rounds of a loop in a second, in the guest's ring 0.`;
}

const microseconds = (ns: number): string => `${(ns / 1000).toFixed(1)} us`;

function whyOf(engine: EngineKind, wanted: "auto" | EngineKind, probe: KvmProbe): string {
  const reasons = probe.findings.map(({ reason }) => reason).join(" ");
  if (engine === "kvm")
    return reasons === "" ? "/dev/kvm works, and passes the self-test." : `It was asked for, although: ${reasons}`;
  if (wanted === "jit") return "It was asked for.";
  return reasons;
}

const NATIVE = "Guest code at the processor's own speed (engine kvm): programs about 12 times as fast.";

/** The probe's findings, but those that nothing can mend; and what a KVM without hardware lacks is one thing. */
function kvmImprovements(
  wanted: "auto" | EngineKind,
  { isUsable, isWorthwhile, findings }: KvmProbe,
): EngineImprovement[] {
  if (isWorthwhile) return wanted === "jit" ? [ASKED_FOR_JIT] : [];
  if (!isUsable)
    return findings.filter(({ code }) => !HOPELESS.has(code)).map((finding) => ({ ...finding, gain: NATIVE }));
  const [first] = findings;
  if (first === undefined) return [];
  return [
    { code: first.code, reason: findings.map(({ reason }) => reason).join(" "), remedy: NEEDS_HARDWARE, gain: NATIVE },
  ];
}

const HOPELESS: ReadonlySet<KvmFindingCode> = new Set(["not-linux", "not-x64"]);
const NEEDS_HARDWARE =
  "Run it on a host whose processor has VT-x or AMD-V, or, if this host is a virtual machine itself, switch nested virtualisation on in the hypervisor below.";
const ASKED_FOR_JIT: EngineImprovement = {
  code: "asked-for-jit",
  reason: "The jit engine was asked for, and this host has a KVM that works.",
  remedy: "Leave the engine to be chosen (--engine auto).",
  gain: NATIVE,
};

/** Later versions of V8 have them without a switch. */
const HAS_SWITCH_BELOW = 24;

function nodeImprovements({ node, branchHints }: EngineHost): EngineImprovement[] {
  if (branchHints || Number.parseInt(node, 10) >= HAS_SWITCH_BELOW) return [];
  return [
    {
      code: "node-version",
      reason: `Node ${node}'s V8 knows no branch hints in WebAssembly, with which translated code is laid out better.`,
      remedy: "Use a build of Node whose `node --v8-options` names experimental-wasm-branch-hinting.",
      gain: "Translated code some per cent faster.",
    },
  ];
}

/** One reason: a VM's first line is no place for all of them. */
function noticeOf(improvements: readonly EngineImprovement[], { findings }: KvmProbe): string | undefined {
  const first = improvements.find(({ code }) => code !== "node-version");
  const reason = findings.find(({ code }) => code === first?.code)?.reason ?? first?.reason;
  return reason && `It runs on the jit engine, where programs take about 12 times as long as on KVM. ${reason}`;
}

let known: EngineHost | undefined;

/** Asked once: V8's list of switches takes a process. */
export function engineHost(): EngineHost {
  known ??= {
    node: process.versions.node,
    v8: process.versions.v8,
    cpus: availableParallelism(),
    branchHints: hasBranchHints(),
    sharedMemory: typeof SharedArrayBuffer !== "undefined",
  };
  return known;
}

/** V8 takes switches that it does not know in silence; its list of them says which it knows. */
function hasBranchHints(): boolean {
  const { stdout } = spawnSync(process.execPath, ["--v8-options"], { encoding: "utf8" });
  return stdout?.includes("--experimental-wasm-branch-hinting") ?? false;
}
