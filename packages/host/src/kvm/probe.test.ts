import { afterEach, describe, expect, it, vi } from "vitest";
import { CAP, EXIT, KVM, RUN } from "./abi.ts";
import { exitWith, FakeCalls } from "./fake-calls.ts";
import { isNoCalls, linuxCalls, loadKoffi } from "./koffi-calls.ts";
import { ERRNO } from "./linux-calls.ts";
import { KVM_DEVICE, type KvmProbe, probeKvm } from "./probe.ts";

const port = (number: number): ((run: DataView) => number) =>
  exitWith(EXIT.IO, (run) => run.setUint16(RUN.io_port, number, true));

/** A KVM that passes the self-test, with so many rounds in its loop, which begins when so many times were up. */
function passing(rounds: bigint, lateBy = 0): FakeCalls {
  const calls = new FakeCalls();
  let late = lateBy;
  for (let i = 0; i <= lateBy; i++) calls.runs.push(() => -ERRNO.EINTR);
  calls.runs.push(port(0x11), exitWith(EXIT.HLT), port(0x12), port(0x13));
  for (let i = 0; i < 16; i++) calls.runs.push(port(0x14));
  calls.answers.set(KVM.GET_REGS, (regs) => {
    new DataView((regs as Uint8Array).buffer).setBigUint64(0, late-- > 0 ? 0n : rounds, true);
    return 0;
  });
  return calls;
}

function absent(): never {
  throw new Error("Cannot find module 'koffi'\nRequire stack:\n- /somewhere");
}

const codes = ({ findings }: KvmProbe): string[] => findings.map(({ code }) => code);

afterEach(() => vi.restoreAllMocks());

describe("a KVM that can", () => {
  it("is worth while, and everything that was opened is closed again", () => {
    const calls = passing(10n ** 12n);
    const probe = probeKvm({ calls });
    expect(probe).toMatchObject({ isUsable: true, isWorthwhile: true, findings: [] });
    expect(probe.facts).toMatchObject({ apiVersion: 12, tscKhz: 2_000_000, canScaleTsc: true });
    expect(probe.facts?.selfTest).toMatchObject({ failure: undefined });
    expect([calls.open_.size, calls.mappings, calls.timers]).toEqual([0, 0, 0]);
  });

  it("is not asked to prove it where nobody wants to know", () => {
    const calls = new FakeCalls();
    expect(probeKvm({ calls, hasSelfTest: false })).toMatchObject({ isUsable: true, findings: [] });
    expect(calls.requests).not.toContain(KVM.RUN);
  });

  it("but slowly, is usable and not worth while", () => {
    const probe = probeKvm({ calls: passing(1n) });
    expect(codes(probe)).toEqual(["slow"]);
    expect(probe).toMatchObject({ isUsable: true, isWorthwhile: false });
  });

  it("and whose guest has not begun when its time is up, gets more", () => {
    expect(probeKvm({ calls: passing(10n ** 12n, 2) })).toMatchObject({ isWorthwhile: true, findings: [] });
  });

  it("but not everything, says which step fails and how", () => {
    const calls = passing(10n ** 12n);
    calls.runs[1] = exitWith(EXIT.INTERNAL_ERROR, (run) => run.setUint32(RUN.internal_suberror, 1, true));
    const probe = probeKvm({ calls });
    expect(codes(probe)).toEqual(["self-test"]);
    expect(probe.findings[0]?.reason).toMatch(/IRET.*suberror 1: an instruction had to be emulated/);
    expect([calls.open_.size, calls.mappings, calls.timers]).toEqual([0, 0, 0]);
  });
});

describe("no KVM", () => {
  const failing = (errno: number): KvmProbe => {
    const calls = new FakeCalls();
    calls.openError = errno;
    return probeKvm({ calls });
  };

  it.each([
    [ERRNO.ENOENT, "no-device"],
    [ERRNO.EACCES, "no-permission"],
    [ERRNO.EMFILE, "device-failed"],
  ])("for error %i says %s, and what to do", (errno, code) => {
    const probe = failing(errno);
    expect(codes(probe)).toEqual([code]);
    expect(probe).toMatchObject({ isUsable: false, isWorthwhile: false, facts: undefined });
    expect(probe.findings[0]?.remedy).toMatch(/^[A-Z].*\.$/);
  });

  it.each([
    ["not-linux", { platform: "darwin" }, /this is darwin/],
    ["not-x64", { platform: "linux", arch: "arm64" }, /this is arm64/],
    [
      "no-koffi",
      { platform: "linux", arch: "x64", require: () => absent() },
      /does not load: Cannot find module 'koffi'\./,
    ],
  ] as const)("%s: says so, and what to do", (code, place, reason) => {
    const calls = loadKoffi(place);
    if (!("detail" in calls)) throw new Error("koffi has loaded");
    const probe = probeKvm({ calls });
    expect(probe).toMatchObject({ isUsable: false, facts: undefined, findings: [{ code }] });
    expect(probe.findings[0]?.reason).toMatch(reason);
    expect(probe.findings[0]?.remedy).toMatch(/jit engine.*\.$/);
  });

  it("of this interface's version is too old", () => {
    const calls = new FakeCalls();
    calls.answers.set(KVM.GET_API_VERSION, () => 11);
    const probe = probeKvm({ calls });
    expect(codes(probe)).toEqual(["too-old"]);
    expect(probe.findings[0]?.reason).toContain("interface version 11; 12 is needed");
    expect(calls.open_.size).toBe(0);
  });

  it("when the kernel is too old, names what it lacks and the version that has it", () => {
    const calls = new FakeCalls();
    calls.capabilities.delete(CAP.X86_MSR_FILTER);
    const probe = probeKvm({ calls });
    expect(codes(probe)).toEqual(["missing-capability"]);
    expect(probe.findings[0]).toMatchObject({
      reason: expect.stringContaining("KVM_CAP_X86_MSR_FILTER"),
      remedy: expect.stringContaining("Linux 5.10"),
    });
  });

  it("when there is no memory for a VM, says so and leaves nothing open", () => {
    const calls = new FakeCalls();
    calls.answers.set(KVM.CREATE_VM, () => -ERRNO.ENOMEM);
    const probe = probeKvm({ calls });
    expect(codes(probe)).toEqual(["device-failed"]);
    expect(probe.findings[0]?.reason).toContain("ENOMEM");
    expect(calls.open_.size).toBe(0);
  });
});

describe("this host", () => {
  const calls = linuxCalls();
  const first = probeKvm({ hasSelfTest: false });
  const why = isNoCalls(calls) ? calls.code : first.isUsable ? undefined : codes(first)[0];

  it.skipIf(why !== undefined)(`answers soon, ${KVM_DEVICE} or not${why ? ` (skipped: ${why})` : ""}`, () => {
    probeKvm();
    const startMs = performance.now();
    const { facts } = probeKvm();
    expect(performance.now() - startMs).toBeLessThan(500);
    expect(facts?.selfTest?.loopsPerSecond).toBeGreaterThan(1000);
    expect(facts?.tscKhz).toBeGreaterThan(100_000);
  });
});
