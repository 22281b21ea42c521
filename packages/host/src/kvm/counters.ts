/** What a vCPU on KVM counts, for `stats`: why it left the guest, and what went in. */
export interface KvmCounters {
  portExits: number;
  mmioExits: number;
  msrExits: number;
  haltExits: number;
  windowExits: number;
  signalExits: number;
  otherExits: number;
  /** Of those for MMIO and MSRs: for the local APIC. */
  localApicExits: number;
  interruptsInjected: number;
  kicks: number;
}

export function newCounters(): KvmCounters {
  return {
    portExits: 0,
    mmioExits: 0,
    msrExits: 0,
    haltExits: 0,
    windowExits: 0,
    signalExits: 0,
    otherExits: 0,
    localApicExits: 0,
    interruptsInjected: 0,
    kicks: 0,
  };
}
