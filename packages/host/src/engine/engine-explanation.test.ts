import { describe, expect, it } from "vitest";
import { CAP, EXIT, KVM, KVM_API_VERSION, RUN } from "../kvm/abi.ts";
import { exitWith, FakeCalls } from "../kvm/fake-calls.ts";
import { ERRNO } from "../kvm/linux-calls.ts";
import { type KvmProbe, probeKvm } from "../kvm/probe.ts";
import { type EngineHost, engineHost, explainEngine } from "./engine-explanation.ts";

const host: EngineHost = { node: "20.1.0", v8: "11", cpus: 2, branchHints: true, sharedMemory: true };
const explain = (probe: KvmProbe, wanted?: "auto" | "jit" | "kvm") => explainEngine({ probe, host, wanted });

const port = (number: number): ((run: DataView) => number) =>
  exitWith(EXIT.IO, (run) => run.setUint16(RUN.io_port, number, true));

/** A KVM that passes the self-test, with so many rounds in its loop. */
function working(rounds: bigint): KvmProbe {
  const calls = new FakeCalls();
  calls.runs.push(() => -ERRNO.EINTR, port(0x11), exitWith(EXIT.HLT), port(0x12), port(0x13));
  for (let i = 0; i < 16; i++) calls.runs.push(port(0x14));
  calls.answers.set(KVM.GET_REGS, (regs) => {
    new DataView((regs as Uint8Array).buffer).setBigUint64(0, rounds, true);
    return 0;
  });
  return probeKvm({ calls });
}

function failing(change: (calls: FakeCalls) => void): KvmProbe {
  const calls = new FakeCalls();
  change(calls);
  return probeKvm({ calls });
}

const QUICK = 10n ** 12n;
const noKoffi: KvmProbe = {
  isUsable: false,
  isWorthwhile: false,
  findings: [{ code: "no-koffi", reason: "The optional package koffi is not there.", remedy: "Install it." }],
  facts: undefined,
};
const otherSystem: KvmProbe = {
  ...noKoffi,
  findings: [{ code: "not-linux", reason: "This is not Linux.", remedy: "Use jit." }],
};

describe("where KVM works", () => {
  it("a VM gets it: type 1, the guest in guest mode, nothing to be made faster", () => {
    const told = explain(working(QUICK));
    expect(told).toMatchObject({ engine: "kvm", type: 1, improvements: [], notice: undefined });
    expect(told.rings.guestKernel).toContain("ring 0 of guest mode");
    expect(told.cost).toMatch(/own speed\..*leaves guest mode, which takes [\d.]+ us here/);
  });

  it("who asks for jit gets it, and hears what that costs", () => {
    const told = explain(working(QUICK), "jit");
    expect(told).toMatchObject({ engine: "jit", type: 2, improvements: [{ code: "asked-for-jit" }] });
    expect(told.notice).toMatch(/12 times as long.*asked for/);
  });
});

describe("where KVM works, and slowly", () => {
  it("auto takes jit and says that hardware would help", () => {
    const told = explain(working(1n));
    expect(told).toMatchObject({ engine: "jit", type: 2, improvements: [{ code: "slow" }] });
    expect(told.why).toContain("interprets guest kernels");
    const lacking = { code: "missing-features" as const, reason: "It lacks much.", remedy: "Another host." };
    const slow = working(1n);
    const both = explain({ ...slow, findings: [lacking, ...slow.findings] });
    expect(both.why).toContain("interprets guest kernels");
    expect(both.notice).toMatch(/ as on KVM\. It lacks much\.$/);
    expect(told.improvements[0]?.remedy).toMatch(/VT-x or AMD-V.*nested virtualisation/);
  });

  it("who asks for kvm gets it, and hears what is wrong with it", () => {
    const told = explain(working(1n), "kvm");
    expect(told).toMatchObject({ engine: "kvm", type: 1 });
    expect(told.why).toMatch(/^It was asked for, although: .*interprets guest kernels/);
  });
});

describe("where there is no KVM to use", () => {
  it.each<[string, KvmProbe, string, RegExp]>([
    [
      "no /dev/kvm",
      failing((calls) => void (calls.openError = ERRNO.ENOENT)),
      "no-device",
      /modprobe|virtualisation|VT-x/,
    ],
    ["no permission", failing((calls) => void (calls.openError = ERRNO.EACCES)), "no-permission", /usermod -aG/],
    ["a device that fails", failing((calls) => void (calls.openError = ERRNO.EMFILE)), "device-failed", /dmesg/],
    [
      "another interface version",
      failing((calls) => void calls.answers.set(KVM.GET_API_VERSION, () => KVM_API_VERSION - 1)),
      "too-old",
      /jit/,
    ],
    [
      "a missing capability",
      failing((calls) => void calls.capabilities.delete(CAP.X86_MSR_FILTER)),
      "missing-capability",
      /Use Linux 5\.10 or later/,
    ],
    ["no koffi", noKoffi, "no-koffi", /Install it/],
  ])("%s: jit, the reason, and what to do", (_name, probe, code, remedy) => {
    for (const wanted of ["auto", "kvm"] as const) {
      const told = explain(probe, wanted);
      expect(told).toMatchObject({ engine: "jit", type: 2, improvements: [{ code }] });
      expect(told.why).toBe(probe.findings[0]?.reason);
      expect(told.improvements[0]?.remedy).toMatch(remedy);
      expect(told.notice).toContain(probe.findings[0]!.reason);
      expect(told.notice).not.toContain("\n");
    }
  });

  it("and never can be, nothing is asked of anybody", () => {
    expect(explain(otherSystem)).toMatchObject({ engine: "jit", improvements: [], notice: undefined });
  });
});

it("says when another Node would be quicker, but not at each start", () => {
  const told = explainEngine({ probe: otherSystem, host: { ...host, branchHints: false } });
  expect(told.improvements).toMatchObject([{ code: "node-version", reason: expect.stringContaining("20.1.0") }]);
  expect(told.notice).toBeUndefined();
});

it("speaks in whole sentences", () => {
  for (const probe of [working(QUICK), working(1n), noKoffi]) {
    const { why, cost, improvements } = explain(probe);
    for (const text of [why, cost, ...improvements.flatMap(({ reason, remedy, gain }) => [reason, remedy, gain])])
      expect(text).toMatch(/^[A-Z/].*\.$/);
  }
});

it("knows this host", () => {
  expect(engineHost()).toMatchObject({ node: process.versions.node, sharedMemory: true });
  expect(["jit", "kvm"]).toContain(explainEngine().engine);
});
