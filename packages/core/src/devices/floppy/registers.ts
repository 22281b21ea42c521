/** Registers, status bits and commands of the 82077AA (Intel data sheet 290166, chapters 2 and 5), by their names there. */

/** Offsets from 3F0H. */
export const REGISTER = { SRA: 0, SRB: 1, DOR: 2, TDR: 3, MSR: 4, FIFO: 5 } as const;
export const DOR = { SELECT: 0x03, NOT_RESET: 0x04, DMA_GATE: 0x08, MOTOR: 0x10 } as const;
export const DSR = { RATE: 0x03, SOFTWARE_RESET: 0x80 } as const;
export const MSR = { RQM: 0x80, DIO: 0x40, BUSY: 0x10 } as const;
export const DSKCHG = 0x80;
export const ST0 = { ABNORMAL: 0x40, INVALID: 0x80, POLLED: 0xc0, SEEK_END: 0x20, EQUIPMENT_CHECK: 0x10 } as const;
export const ST1 = {
  MISSING_ADDRESS: 0x01,
  NOT_WRITABLE: 0x02,
  NO_DATA: 0x04,
  OVERRUN: 0x10,
  DATA_ERROR: 0x20,
  END_OF_CYLINDER: 0x80,
} as const;
export const ST2 = { WRONG_CYLINDER: 0x10, DATA_ERROR: 0x20 } as const;
export const ST3 = { TWO_SIDED: 0x08, TRACK_0: 0x10, READY: 0x20, WRITE_PROTECTED: 0x40 } as const;

export const COMMAND = {
  READ_TRACK: 0x02,
  SPECIFY: 0x03,
  SENSE_DRIVE_STATUS: 0x04,
  WRITE_DATA: 0x05,
  READ_DATA: 0x06,
  RECALIBRATE: 0x07,
  SENSE_INTERRUPT_STATUS: 0x08,
  READ_ID: 0x0a,
  FORMAT_TRACK: 0x0d,
  DUMPREG: 0x0e,
  SEEK: 0x0f,
  VERSION: 0x10,
  PERPENDICULAR_MODE: 0x12,
  CONFIGURE: 0x13,
  LOCK: 0x14,
} as const;
/** With the first byte: MT, MFM, SK; of SEEK, relative and its direction; of LOCK, the lock. */
export const FLAG = { MT: 0x80, MFM: 0x40, SK: 0x20, RELATIVE: 0x80, UP: 0x40, LOCK: 0x80 } as const;

/** Bytes of the command, itself among them, and the flags that it may have. */
const FORMS: ReadonlyMap<number, readonly [bytes: number, flags: number]> = new Map([
  [COMMAND.READ_TRACK, [9, FLAG.MFM | FLAG.SK]],
  [COMMAND.SPECIFY, [3, 0]],
  [COMMAND.SENSE_DRIVE_STATUS, [2, 0]],
  [COMMAND.WRITE_DATA, [9, FLAG.MT | FLAG.MFM]],
  [COMMAND.READ_DATA, [9, FLAG.MT | FLAG.MFM | FLAG.SK]],
  [COMMAND.RECALIBRATE, [2, 0]],
  [COMMAND.SENSE_INTERRUPT_STATUS, [1, 0]],
  [COMMAND.READ_ID, [2, FLAG.MFM]],
  [COMMAND.FORMAT_TRACK, [6, FLAG.MFM]],
  [COMMAND.DUMPREG, [1, 0]],
  [COMMAND.SEEK, [3, FLAG.RELATIVE | FLAG.UP]],
  [COMMAND.VERSION, [1, 0]],
  [COMMAND.PERPENDICULAR_MODE, [2, 0]],
  [COMMAND.CONFIGURE, [4, 0]],
  [COMMAND.LOCK, [1, FLAG.LOCK]],
]);
export const MAX_COMMAND_BYTES = 9;
export const MAX_RESULT_BYTES = 10;

/** How many bytes a command has that begins so; undefined: it is none. */
export function commandBytes(first: number): number | undefined {
  const form = FORMS.get(first & 0x1f);
  return form && (first & ~0x1f & ~form[1]) === 0 ? form[0] : undefined;
}
