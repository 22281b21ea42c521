/**
 * Registers and bits of an IDE channel and its bus master (ATA8-APT, chapter 7 and ATA/ATAPI-6, chapter 7; Programming
 * Interface for Bus Master IDE Controller 1.0).
 */

/** Of the command block, from 1F0H or 170H. */
export const TASK = {
  DATA: 0,
  /** Read: error. */
  FEATURES: 1,
  COUNT: 2,
  LBA_LOW: 3,
  LBA_MID: 4,
  LBA_HIGH: 5,
  DEVICE: 6,
  /** Read: status, which acknowledges the interrupt. */
  COMMAND: 7,
} as const;

export const CONTROL = { NIEN: 0x02, SRST: 0x04, HOB: 0x80 } as const;
export const DEVICE = { DEV: 0x10, LBA: 0x40 } as const;
export const STATUS = { BSY: 0x80, DRDY: 0x40, DSC: 0x10, DRQ: 0x08, ERR: 0x01 } as const;
export const READY: number = STATUS.DRDY | STATUS.DSC;
/** In the count register of a PACKET command: interrupt reason. */
export const REASON = { COMMAND: 1, TO_HOST: 2, DONE: 3 } as const;

/** Of each channel, 8 apart. */
export const BUS_MASTER = { COMMAND: 0, STATUS: 2, TABLE: 4, bytes: 8 } as const;
export const BM_COMMAND = { START: 1, TO_MEMORY: 8 } as const;
export const BM_STATUS = { ACTIVE: 1, ERROR: 2, INTERRUPT: 4, CAPABLE: 0x60 } as const;

export const SECTOR_BYTES = 512;
export const PACKET_BYTES = 12;
