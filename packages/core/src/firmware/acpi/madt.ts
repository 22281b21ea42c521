/** The MADT's body (ACPI 6.5, 5.2.12): local APICs, the IO-APIC, and where ISA interrupts arrive that differ. */
import { GSI, IO_APIC_ID, ISA_IRQ, MEMORY_MAP } from "../../machine/board-map.ts";
import { concat, littleEndian } from "./aml.ts";

const TYPE = { LOCAL_APIC: 0, IO_APIC: 1, SOURCE_OVERRIDE: 2, LOCAL_APIC_NMI: 4 } as const;
/** Of a local APIC: it is there, or may come. */
export const MADT_FLAG = { ENABLED: 1 << 0, ONLINE_CAPABLE: 1 << 1 } as const;
const PCAT_COMPAT = 1;
/** Polarity in bits 1:0 (1 = high), trigger in bits 3:2 (3 = level); 0 is what the bus does. */
const MPS_INTI = { AS_THE_BUS: 0, LEVEL_HIGH: 0xd } as const;
const ALL_PROCESSORS = 0xff;

/** Processor and local APIC have the same number. */
export function localApicEntry(index: number, flags: number): Uint8Array {
  return concat(Uint8Array.of(TYPE.LOCAL_APIC, 8, index, index), littleEndian(flags, 4));
}

/** `isThere`: of a processor; the others may come. */
export function madtBody(cpuCount: number, isThere: (index: number) => boolean = () => true): Uint8Array {
  return concat(
    littleEndian(MEMORY_MAP.localApicStart, 4),
    littleEndian(PCAT_COMPAT, 4),
    ...Array.from({ length: cpuCount }, (_, index) =>
      localApicEntry(index, isThere(index) ? MADT_FLAG.ENABLED : MADT_FLAG.ONLINE_CAPABLE),
    ),
    Uint8Array.of(TYPE.IO_APIC, 12, IO_APIC_ID, 0),
    littleEndian(MEMORY_MAP.ioApicStart, 4),
    littleEndian(0, 4),
    sourceOverride(ISA_IRQ.pit, GSI.pit, MPS_INTI.AS_THE_BUS),
    sourceOverride(ISA_IRQ.sci, GSI.sci, MPS_INTI.LEVEL_HIGH),
    // NMI on LINT1 of every local APIC.
    Uint8Array.of(TYPE.LOCAL_APIC_NMI, 6, ALL_PROCESSORS, 0, 0, 1),
  );
}

function sourceOverride(isaIrq: number, gsi: number, flags: number): Uint8Array {
  return concat(Uint8Array.of(TYPE.SOURCE_OVERRIDE, 10, 0, isaIrq), littleEndian(gsi, 4), littleEndian(flags, 2));
}
