/**
 * Where QEMU's software processor is not what AMD's manual says, as far as it shows in the nested guest. A test named here
 * is expected to fail there and nowhere else: it is reported as "deviates", and as a failure once it passes, so that the
 * list stays true. What is only known, and fails nothing, has no test.
 */

export interface Deviation {
  readonly what: string;
  /** PROGRAM: full name of the test. */
  readonly test?: string;
  /** It does not show where the time of a run happens to be up just in front of the breakpoint: passing is no failure. */
  readonly isByChance?: true;
  /** The version of QEMU that is right again. */
  readonly fixedIn?: QemuVersion;
}

export type QemuVersion = readonly [major: number, minor: number];

/** The outer machine then has one. */
export const SEVERAL_PROCESSORS: Deviation = {
  what: "one processor that translates code while another one patches it may run the old code for good; V8, which then frees that code, ends Node by a failed check or SIGSEGV",
  fixedIn: [8, 1],
};

export const DEVIATIONS: readonly Deviation[] = [
  { what: "the model lacks PCID, INVPCID, RDSEED, XSAVEC and XSAVES, so that KVM cannot offer them either" },
  {
    what: "a store of guest mode into the very next instruction is not seen, as if a jump were needed in between",
    test: "engine: contract of the kvm engine > code that the guest rewrites is run as it is now, even the next instruction",
  },
  {
    what: "VMRUN loads DR7 without effect: no breakpoint of the debug registers hits in guest mode",
    test: "engine: debugging on the kvm engine > a hardware breakpoint stops in front of its instruction, each time",
    isByChance: true,
  },
  {
    what: "VMRUN loads DR7 without effect: no breakpoint of the debug registers hits in guest mode",
    test: "engine: debugging on the kvm engine > watchpoints stop behind the access",
  },
  {
    what: "VMRUN loads DR7 without effect: no breakpoint of the debug registers hits in guest mode",
    test: "engine: debugging on the kvm engine > breakpoints and watchpoints on the same way stop one after the other",
  },
  {
    what: "VMRUN loads DR7 without effect: no breakpoint of the debug registers hits in guest mode",
    test: "engine: debugging on the kvm engine > the guest's debug registers read as it has left them",
  },
  {
    what: "VMRUN loads DR7 without effect: no breakpoint of the debug registers hits in guest mode",
    test: "engine: debugging on the kvm engine > accesses to devices go on as without",
    isByChance: true,
  },
  {
    what: "VMRUN loads DR7 without effect",
    test: "exits: small guests > stop in front of a breakpoint in the debug registers, and go on",
    isByChance: true,
  },
  {
    what: "INT3 in guest mode is no interceptable #BP",
    test: "engine: debugging on the kvm engine > a software breakpoint does, too",
    isByChance: true,
  },
  {
    what: "INT3 in guest mode is no interceptable #BP",
    test: "engine: debugging on the kvm engine > one of many software breakpoints does, too",
    isByChance: true,
  },
  {
    what: "INT3 in guest mode is no interceptable #BP",
    test: "engine: debugging on the kvm engine > memory shows no software breakpoint between runs",
    isByChance: true,
  },
  {
    what: "VMRUN does not load the interrupt shadow that #VMEXIT has saved: an exit that happens to come right behind STI ends it",
    test: "engine: contract of the kvm engine > an interrupt waits for IF and for STI's shadow",
    isByChance: true,
  },
  { what: "no next RIP on exits (nrip_save): KVM decodes the instruction that exited by itself" },
  {
    what: "XSETBV in guest mode does not leave it, whatever the intercept says (QEMU before 8.2 does not look at it): KVM never learns the guest's XCR0, and puts back the reset value of 1 at the next entry. Linux in there then cannot restore SSE's registers when it returns from a signal (XRSTOR ends in #GP: rt_sigreturn, bad frame)",
    test: "exits: small guests > have the XCR0 that they set",
    fixedIn: [8, 2],
  },
  SEVERAL_PROCESSORS,
  { what: "time: an exit costs 50 to 200 us, and two virtual processors of the outer machine may wait for each other" },
];

/** Those of one version, or of none that is known. */
export function deviationsOf(version: QemuVersion | undefined): readonly Deviation[] {
  if (version === undefined) return DEVIATIONS;
  const [major, minor] = version;
  return DEVIATIONS.filter(
    ({ fixedIn }) => fixedIn === undefined || major < fixedIn[0] || (major === fixedIn[0] && minor < fixedIn[1]),
  );
}
