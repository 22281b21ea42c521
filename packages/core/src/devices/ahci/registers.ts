/**
 * Registers, bits and structures in memory of an AHCI controller (Serial ATA AHCI 1.3.1, chapters 3 and 4; frame types:
 * Serial ATA 3.2, 10.5; status and error bits: ATA8-ACS, chapter 6).
 */

/** Generic host control (3.1). */
export const HBA = { CAP: 0x00, GHC: 0x04, IS: 0x08, PI: 0x0c, VS: 0x10, CAP2: 0x24 } as const;
export const GHC = { HR: 1, IE: 2, AE: 0x8000_0000 } as const;

export const PORTS = 6;
export const SLOTS = 32;
/** S64A, SNCQ, SCLO, AHCI only, 3 Gbps, 32 slots, six ports (3.1.1). */
export const CAP_VALUE = 0xc124_1f00 | (PORTS - 1);
export const VS_VALUE = 0x0001_0301;

/** One port's registers, 80H bytes each from 100H (3.3). */
export const PORT_BASE = 0x100;
export const PORT_BYTES = 0x80;
export const PX = {
  CLB: 0x00,
  CLBU: 0x04,
  FB: 0x08,
  FBU: 0x0c,
  IS: 0x10,
  IE: 0x14,
  CMD: 0x18,
  TFD: 0x20,
  SIG: 0x24,
  SSTS: 0x28,
  SCTL: 0x2c,
  SERR: 0x30,
  SACT: 0x34,
  CI: 0x38,
} as const;
export const ABAR_BYTES = 0x800;

export const PXIS = {
  DHRS: 1 << 0,
  PSS: 1 << 1,
  SDBS: 1 << 3,
  PCS: 1 << 6,
  OFS: 1 << 24,
  IFS: 1 << 27,
  HBDS: 1 << 28,
  HBFS: 1 << 29,
  TFES: 1 << 30,
} as const;
/** Interrupts that a port has. */
export const PXIS_MASK = 0x7d80_00ff;
/** Those that stop it until ST is cleared (6.2.2). */
export const PXIS_FATAL: number = PXIS.TFES | PXIS.HBFS | PXIS.HBDS | PXIS.IFS;

export const PXCMD = {
  ST: 1 << 0,
  SUD: 1 << 1,
  POD: 1 << 2,
  CLO: 1 << 3,
  FRE: 1 << 4,
  FR: 1 << 14,
  CR: 1 << 15,
  ATAPI: 1 << 24,
} as const;
/** What a driver may change; ST and CLO are handled apart. */
export const PXCMD_WRITABLE: number = PXCMD.ST | PXCMD.FRE | PXCMD.ATAPI | (1 << 25);
export const SERR_DIAG_X = 1 << 26;
/** A device at 3 Gbps, active. */
export const SSTS_UP = 0x123;

/** Received frames: offsets in the area at PxFB (4.2.1). */
export const RX_FIS = { PIO_SETUP: 0x20, REGISTER: 0x40, SET_DEVICE_BITS: 0x58 } as const;
export const FIS_TYPE = { H2D: 0x27, D2H: 0x34, PIO_SETUP: 0x5f, SET_DEVICE_BITS: 0xa1 } as const;
export const FIS_BYTES = 20;
export const FIS_INTERRUPT = 0x40;

export const HEADER_BYTES = 32;
/** Of a command table (4.2.3). */
export const TABLE = { CFIS: 0, ACMD: 0x40, PRDT: 0x80 } as const;
export const ACMD_BYTES = 16;

export const ATA_STATUS = { BSY: 0x80, DRDY: 0x40, DSC: 0x10, DRQ: 0x08, ERR: 0x01 } as const;
export const ATA_ERROR = { ICRC: 0x80, IDNF: 0x10, UNC: 0x40, ABRT: 0x04 } as const;
export const READY: number = ATA_STATUS.DRDY | ATA_STATUS.DSC;

/** A 64-bit address of two registers; undefined where no memory can be. */
export function address(low: number, high: number): number | undefined {
  return high < 2 ** 20 ? high * 2 ** 32 + (low >>> 0) : undefined;
}
