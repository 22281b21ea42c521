/**
 * Registers, opcodes, status codes and structures in memory of an NVMe controller (NVM Express 1.4: 3.1 registers; 4.2 and
 * 4.6 queue entries; 4.6.1 status; chapters 5 and 6 commands).
 */

export const REG = {
  CAP: 0x00,
  CAP_HIGH: 0x04,
  VS: 0x08,
  INTMS: 0x0c,
  INTMC: 0x10,
  CC: 0x14,
  CSTS: 0x1c,
  AQA: 0x24,
  ASQ: 0x28,
  ASQ_HIGH: 0x2c,
  ACQ: 0x30,
  ACQ_HIGH: 0x34,
} as const;
export const DOORBELLS = 0x1000;
export const BAR_BYTES = 0x4000;

export const PAGE_BYTES = 4096;
/** Entries of a queue, at most and at least. */
export const QUEUE_ENTRIES = { min: 2, max: 1024 } as const;
/** Pairs beside the admin queues: numbers 1 to this. */
export const IO_QUEUES = 8;
export const VECTORS: number = IO_QUEUES + 1;

/** MQES, contiguous queues, ready or not within 10 s; NVM command set, pages of 4 KiB only (3.1.1). */
export const CAP_VALUE: number = ((20 << 24) | (1 << 16) | (QUEUE_ENTRIES.max - 1)) >>> 0;
export const CAP_HIGH_VALUE = 1 << 5;
export const VS_VALUE = 0x0001_0400;

export const CC = { EN: 1, CSS: 7 << 4, MPS: 0xf << 7, AMS: 7 << 11, SHN: 3 << 14 } as const;
export const CC_WRITABLE = 0x00ff_fff1;
export const CSTS = { RDY: 1, CFS: 2, SHST: 3 << 2, SHST_BUSY: 1 << 2, SHST_DONE: 2 << 2 } as const;

export const SQ_ENTRY_BYTES = 64;
export const CQ_ENTRY_BYTES = 16;

export const ADMIN = {
  DELETE_IO_SQ: 0x00,
  CREATE_IO_SQ: 0x01,
  GET_LOG_PAGE: 0x02,
  DELETE_IO_CQ: 0x04,
  CREATE_IO_CQ: 0x05,
  IDENTIFY: 0x06,
  ABORT: 0x08,
  SET_FEATURES: 0x09,
  GET_FEATURES: 0x0a,
  ASYNC_EVENT_REQUEST: 0x0c,
} as const;

export const NVM = { FLUSH: 0x00, WRITE: 0x01, READ: 0x02, WRITE_ZEROES: 0x08, DATASET_MANAGEMENT: 0x09 } as const;

/** Status code type and code, as the status field has them above the phase bit; DNR: a retry is of no use. */
const DNR = 0x4000;
export const STATUS = {
  SUCCESS: 0,
  INVALID_OPCODE: DNR | 0x01,
  INVALID_FIELD: DNR | 0x02,
  DATA_TRANSFER: DNR | 0x04,
  INVALID_NAMESPACE: DNR | 0x0b,
  SEQUENCE: DNR | 0x0c,
  INVALID_PRP_OFFSET: DNR | 0x13,
  WRITE_PROTECTED: DNR | 0x20,
  OUT_OF_RANGE: DNR | 0x80,
  INVALID_CQ: DNR | 0x100,
  INVALID_QUEUE: DNR | 0x101,
  INVALID_QUEUE_SIZE: DNR | 0x102,
  TOO_MANY_EVENTS: DNR | 0x105,
  INVALID_VECTOR: DNR | 0x108,
  INVALID_LOG_PAGE: DNR | 0x109,
  INVALID_QUEUE_DELETION: DNR | 0x10c,
  NOT_SAVEABLE: DNR | 0x10d,
  WRITE_FAULT: 0x280,
  UNRECOVERED_READ: 0x281,
} as const;

/** A submission queue entry. */
export interface NvmeCommand {
  readonly opcode: number;
  readonly cid: number;
  readonly nsid: number;
  readonly prp1: bigint;
  readonly prp2: bigint;
  /** Dwords 10 to 15. */
  readonly dwords: readonly [number, number, number, number, number, number];
  /** Neither fused nor with scatter-gather lists. */
  readonly isPlain: boolean;
}

export function parseCommand(bytes: Uint8Array): NvmeCommand {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const dword = (n: number): number => view.getUint32(4 * n, true);
  return {
    opcode: bytes[0]!,
    cid: view.getUint16(2, true),
    nsid: dword(1),
    prp1: view.getBigUint64(24, true),
    prp2: view.getBigUint64(32, true),
    dwords: [dword(10), dword(11), dword(12), dword(13), dword(14), dword(15)],
    isPlain: (bytes[1]! & 0xc3) === 0,
  };
}
