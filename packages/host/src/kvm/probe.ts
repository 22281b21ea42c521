/**
 * Whether a VM would run on the processor itself here, through KVM, and if not, why and what would help: each finding
 * has a stable code, the reason in words, and what to do. Asked by `--engine auto`, by `--engine kvm` before it refuses,
 * and by whatever explains the choice. Takes at most about 50 ms, with the self-test; without one, a few.
 */
import { existsSync, readFileSync, statSync } from "node:fs";
import { release } from "node:os";
import { featureSet } from "@twinmetal/core";
import { CAP, KVM, KVM_API_VERSION, NEEDED_CAPS } from "./abi.ts";
import { cpuidContext, missingFeatures } from "./guest-cpuid.ts";
import { isNoCalls, linuxCalls, type NoCalls } from "./koffi-calls.ts";
import { ERRNO, type LinuxCalls, LinuxError } from "./linux-calls.ts";
import { type SelfTestResult, selfTest } from "./self-test.ts";

export type KvmFindingCode =
  /** Another system or processor: nothing to be done. */
  | "not-linux"
  | "not-x64"
  /** The optional package koffi is not installed or does not load. */
  | "no-koffi"
  /** There is no /dev/kvm, or it cannot be opened. */
  | "no-device"
  | "no-permission"
  | "device-failed"
  /** The kernel is older than what the engine needs. */
  | "too-old"
  | "missing-capability"
  /** The CPU model has features that this KVM cannot give. */
  | "missing-features"
  /** The self-test found something that this KVM cannot do. */
  | "self-test"
  /** Guest kernels are interpreted: the jit engine is quicker. */
  | "slow";

export interface KvmFinding {
  readonly code: KvmFindingCode;
  /** What is the matter, a whole sentence. */
  readonly reason: string;
  /** What to do about it, a whole sentence. */
  readonly remedy: string;
}

export interface KvmFacts {
  readonly apiVersion: number;
  readonly hostKernel: string;
  /** The kernel module behind /dev/kvm: kvm_intel, kvm_amd or another; undefined where it cannot be told. */
  readonly module: string | undefined;
  /** Of the host's time-stamp counter. */
  readonly tscKhz: number;
  /** Guests can have a time-stamp counter of another frequency. */
  readonly canScaleTsc: boolean;
  /** Features of the guest's CPU that it would not get here. */
  readonly missingFeatures: readonly string[];
  readonly selfTest: SelfTestResult | undefined;
}

export interface KvmProbe {
  /** The kvm engine can run here. `isWorthwhile`: and is quicker than the jit engine. */
  readonly isUsable: boolean;
  readonly isWorthwhile: boolean;
  readonly findings: readonly KvmFinding[];
  /** Undefined where /dev/kvm could not be opened. */
  readonly facts: KvmFacts | undefined;
}

export interface ProbeOptions {
  readonly path?: string;
  readonly calls?: LinuxCalls | NoCalls;
  /** Default: true. Without it `isWorthwhile` is not known to be false. */
  readonly hasSelfTest?: boolean;
  /** No self-test where there are findings already. */
  readonly isBrief?: boolean;
  /** As in a machine's spec: what the guest has to get. Default: the portable model. */
  readonly cpuFeatures?: readonly string[];
}

export const KVM_DEVICE = "/dev/kvm";
/** Translated code does about a thousand million rounds of the self-test's loop in a second, interpreted code 20. */
const WORTHWHILE_LOOPS_PER_SECOND = 50_000_000;
const USE_JIT = "Use the jit engine (--engine jit or auto) here; it needs nothing.";
const MODULES = ["kvm_intel", "kvm_amd", "kvm_pvm"] as const;

/** Never throws. */
export function probeKvm(options: ProbeOptions = {}): KvmProbe {
  const path = options.path ?? KVM_DEVICE;
  // Where there is nothing to open, koffi need not be loaded.
  if (!options.calls && process.platform === "linux" && !existsSync(path))
    return unusable(cannotOpen(path, new LinuxError(`open ${path}`, ERRNO.ENOENT)));
  const calls = options.calls ?? linuxCalls();
  if (isNoCalls(calls)) return unusable(NO_CALLS[calls.code](calls.detail));
  let fd: number;
  try {
    fd = calls.open(path);
  } catch (error) {
    return unusable(cannotOpen(path, error));
  }
  let facts: KvmFacts;
  let missing: readonly string[];
  try {
    facts = factsOf(calls, fd, options.cpuFeatures ?? []);
    missing = Object.keys(NEEDED_CAPS).filter(
      (name) => calls.ioctl(fd, KVM.CHECK_EXTENSION, CAP[name as keyof typeof CAP]) <= 0,
    );
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    return unusable(deviceFailed(path, error));
  } finally {
    calls.close(fd);
  }
  if (facts.apiVersion !== KVM_API_VERSION) return unusable(wrongVersion(facts.apiVersion), facts);
  if (missing.length > 0) return unusable(missingCaps(missing, facts), facts);
  const findings = facts.missingFeatures.length > 0 ? [missingFromModel(path, facts)] : [];
  const isEnough = options.hasSelfTest === false || (options.isBrief === true && findings.length > 0);
  if (isEnough) return { isUsable: true, isWorthwhile: findings.length === 0, findings, facts };
  return tested(calls, path, facts, findings);
}

function tested(calls: LinuxCalls, path: string, facts: KvmFacts, findings: KvmFinding[]): KvmProbe {
  let result: SelfTestResult;
  try {
    result = selfTest(calls, path);
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    return unusable(deviceFailed(path, error), facts);
  }
  const all = { ...facts, selfTest: result };
  if (result.failure) {
    const { step, detail } = result.failure;
    findings.push({
      code: "self-test",
      reason: `${path} cannot run every guest: its self-test failed at ${STEPS[step]}: ${detail}.${aboutModule(facts)}`,
      remedy: `${USE_JIT} For the kvm engine, use a host whose processor has VT-x or AMD-V, or a virtual machine with nested virtualisation.`,
    });
  }
  if (result.failure?.step !== "loop" && result.loopsPerSecond < WORTHWHILE_LOOPS_PER_SECOND) {
    const millions = (result.loopsPerSecond / 1e6).toFixed(1);
    findings.push({
      code: "slow",
      reason: `${path} interprets guest kernels: ${millions} million rounds of a loop in a second, where translated code does hundreds of millions.${aboutModule(facts)}`,
      remedy: USE_JIT,
    });
  }
  // With these it may still do what a certain guest needs: who asks for it by name gets it.
  return { isUsable: true, isWorthwhile: findings.length === 0, findings, facts: all };
}

const STEPS: Readonly<Record<string, string>> = {
  iret: "a 32-bit software interrupt and the return from it (IRET)",
  interrupt: "an external interrupt",
  exits: "leaving the guest by OUT",
  loop: "a kick out of a loop",
};

function factsOf(calls: LinuxCalls, fd: number, cpuFeatures: readonly string[]): KvmFacts {
  return {
    apiVersion: calls.ioctl(fd, KVM.GET_API_VERSION, 0),
    hostKernel: release(),
    module: MODULES.find((name) => existsSync(`/sys/module/${name}`)),
    tscKhz: tscKhz(calls, fd),
    canScaleTsc: calls.ioctl(fd, KVM.CHECK_EXTENSION, CAP.TSC_CONTROL) > 0,
    missingFeatures: missingFeatures(calls, fd, cpuidContext(1e9, featureSet(cpuFeatures))),
    selfTest: undefined,
  };
}

/** Only a vCPU tells it; 0 where there can be none. */
function tscKhz(calls: LinuxCalls, fd: number): number {
  const vm = calls.ioctl(fd, KVM.CREATE_VM, 0);
  if (vm < 0) return 0;
  const vcpu = calls.ioctl(vm, KVM.CREATE_VCPU, 0);
  const khz = vcpu < 0 ? 0 : calls.ioctl(vcpu, KVM.GET_TSC_KHZ, 0);
  if (vcpu >= 0) calls.close(vcpu);
  calls.close(vm);
  return Math.max(khz, 0);
}

function aboutModule(facts: KvmFacts): string {
  return facts.module === "kvm_pvm" ? " Its module is kvm_pvm, which works without virtualisation in hardware." : "";
}

function unusable(finding: KvmFinding, facts?: KvmFacts): KvmProbe {
  return { isUsable: false, isWorthwhile: false, findings: [finding], facts };
}

const NO_CALLS: Readonly<Record<NoCalls["code"], (detail: string) => KvmFinding>> = {
  "not-linux": (detail) => ({
    code: "not-linux",
    reason: `KVM is a part of Linux, and this is ${detail}.`,
    remedy: USE_JIT,
  }),
  "not-x64": (detail) => ({
    code: "not-x64",
    reason: `x86-64 guests run through KVM on x86-64 hosts only, and this is ${detail}.`,
    remedy: USE_JIT,
  }),
  "no-koffi": (detail) => ({
    code: "no-koffi",
    reason: `The optional package koffi, through which KVM is called, does not load: ${detail}.`,
    remedy:
      "Install it beside twinmetal (npm install koffi), without --omit=optional, or use the jit engine, which needs nothing.",
  }),
};

function cannotOpen(path: string, error: unknown): KvmFinding {
  const code = error instanceof LinuxError ? error.code : String(error);
  if (code === "EACCES" || code === "EPERM") return noPermission(path);
  if (code !== "ENOENT" && code !== "ENODEV" && code !== "ENXIO") return deviceFailed(path, error);
  const flags = cpuFlags();
  if (flags.has("vmx") || flags.has("svm")) {
    const module = flags.has("vmx") ? "kvm_intel" : "kvm_amd";
    return {
      code: "no-device",
      reason: `There is no ${path}, although the processor can virtualise (${flags.has("vmx") ? "VT-x" : "AMD-V"}).`,
      remedy: `Load the kernel's module as root: modprobe ${module}. In a container, pass the device in (--device ${path}).`,
    };
  }
  const isGuest = flags.has("hypervisor");
  return {
    code: "no-device",
    reason: `There is no ${path}, and the processor does not offer virtualisation${isGuest ? " to this virtual machine" : ""}.`,
    remedy: isGuest
      ? "Switch nested virtualisation on in the hypervisor that this system runs on, or use the jit engine, which needs nothing."
      : "Switch VT-x or AMD-V on in the firmware's settings if the processor has it, or use the jit engine, which needs nothing.",
  };
}

function noPermission(path: string): KvmFinding {
  const group = groupOf(path);
  return {
    code: "no-permission",
    reason: `This user may not open ${path}.`,
    remedy: `Add the user to the group that owns it (usermod -aG ${group} USER, as root, and log in again), or use the jit engine.`,
  };
}

function deviceFailed(path: string, error: unknown): KvmFinding {
  return {
    code: "device-failed",
    reason: `${path} does not work: ${(error as Error).message}.`,
    remedy: `${USE_JIT} The kernel's messages (dmesg) may say more.`,
  };
}

function wrongVersion(version: number): KvmFinding {
  return {
    code: "too-old",
    reason: `The kernel's KVM has interface version ${version}; ${KVM_API_VERSION} is needed.`,
    remedy: USE_JIT,
  };
}

function missingCaps(missing: readonly string[], facts: KvmFacts): KvmFinding {
  const versions = missing.map((name) => NEEDED_CAPS[name as keyof typeof CAP]!);
  const newest = versions.sort((a, b) => a.localeCompare(b, "en", { numeric: true })).at(-1)!;
  return {
    code: "missing-capability",
    reason: `The kernel (${facts.hostKernel}) lacks what the kvm engine needs: ${missing.map((name) => `KVM_CAP_${name}`).join(", ")}.`,
    remedy: `Use Linux ${newest} or later, or the jit engine, which needs nothing.`,
  };
}

function missingFromModel(path: string, facts: KvmFacts): KvmFinding {
  return {
    code: "missing-features",
    reason: `${path} does not give a guest all that its CPU has to have: ${facts.missingFeatures.join(", ")}.${aboutModule(facts)}`,
    remedy: `${USE_JIT} A VM that is created without them (--cpu portable-v1,-NAME) may run.`,
  };
}

function cpuFlags(): ReadonlySet<string> {
  try {
    const line = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"));
    return new Set(line?.[1]?.trim().split(" ") ?? []);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return new Set();
  }
}

/** The group's name, or its number where there is none, or what it usually is. */
function groupOf(path: string): string {
  try {
    const { gid } = statSync(path);
    const entry = readFileSync("/etc/group", "utf8")
      .split("\n")
      .map((line) => line.split(":"))
      .find((fields) => fields[2] === String(gid));
    return entry?.[0] ?? String(gid);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return "kvm";
  }
}
