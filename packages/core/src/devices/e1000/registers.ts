/** Registers of the 82540EM and their bits, by the names of the PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual, chapter 13. */

export const REG = {
  CTRL: 0x0000,
  STATUS: 0x0008,
  EECD: 0x0010,
  EERD: 0x0014,
  CTRL_EXT: 0x0018,
  MDIC: 0x0020,
  VET: 0x0038,
  ICR: 0x00c0,
  ITR: 0x00c4,
  ICS: 0x00c8,
  IMS: 0x00d0,
  IMC: 0x00d8,
  RCTL: 0x0100,
  TCTL: 0x0400,
  RDBAL: 0x2800,
  RDBAH: 0x2804,
  RDLEN: 0x2808,
  RDH: 0x2810,
  RDT: 0x2818,
  TDBAL: 0x3800,
  TDBAH: 0x3804,
  TDLEN: 0x3808,
  TDH: 0x3810,
  TDT: 0x3818,
  RXCSUM: 0x5000,
  MTA: 0x5200,
  RA: 0x5400,
  VFTA: 0x5600,
} as const;

/** Written and read, without more: offset and the bits that there are. Everything else reads as zero. */
export const PLAIN: readonly (readonly [offset: number, mask: number])[] = [
  [REG.CTRL, 0x7fff_ffff],
  [REG.CTRL_EXT, 0xffff_ffff],
  [0x0028, 0xffff_ffff], // FCAL
  [0x002c, 0xffff], // FCAH
  [0x0030, 0xffff], // FCT
  [REG.VET, 0xffff],
  [REG.ITR, 0xffff],
  [REG.IMS, 0x1_ffff],
  [REG.RCTL, 0x06df_f3fe],
  [0x0170, 0xffff], // FCTTV
  [0x0178, 0xffff_ffff], // TXCW
  [REG.TCTL, 0x03ff_fffa],
  [0x0410, 0x3fff_ffff], // TIPG
  [0x0458, 0xffff], // AIT
  [0x0e00, 0xffff_ffff], // LEDCTL
  [0x1000, 0xffff_ffff], // PBA
  [0x2160, 0x8000_fff8], // FCRTL
  [0x2168, 0x8000_fff8], // FCRTH
  [REG.RDBAL, 0xffff_fff0],
  [REG.RDBAH, 0xffff_ffff],
  [REG.RDLEN, 0xf_ff80],
  [REG.RDH, 0xffff],
  [REG.RDT, 0xffff],
  [0x2820, 0xffff], // RDTR
  [0x2828, 0xffff_ffff], // RXDCTL
  [0x282c, 0xffff], // RADV
  [REG.TDBAL, 0xffff_fff0],
  [REG.TDBAH, 0xffff_ffff],
  [REG.TDLEN, 0xf_ff80],
  [REG.TDH, 0xffff],
  [REG.TDT, 0xffff],
  [0x3820, 0xffff], // TIDV
  [0x3828, 0xffff_ffff], // TXDCTL
  [0x382c, 0xffff], // TADV
  [0x3830, 0xffff_ffff], // TSPMT
  [REG.RXCSUM, 0x7ff],
  [0x5800, 0xffff_ffff], // WUC
  [0x5808, 0xffff_ffff], // WUFC
  [0x5820, 0xffff_ffff], // MANC
];

export const CTRL = { SLU: 1 << 6, RST: 1 << 26, VME: 1 << 30, PHY_RST: 0x8000_0000 } as const;
/** Full duplex at 1000 Mb/s, on a 33 MHz PCI bus. */
export const STATUS = { FD: 1, LU: 2, SPEED_1000: 2 << 6 } as const;
export const EECD = { SK: 1, CS: 2, DI: 4, DO: 8, FWE: 0x30, EE_REQ: 0x40, EE_GNT: 0x80, EE_PRES: 0x100 } as const;
export const EERD = { START: 1, DONE: 0x10 } as const;
export const MDIC = { WRITE: 1, READ: 2, R: 1 << 28, I: 1 << 29, E: 1 << 30 } as const;
export const ICR = { TXDW: 1, TXQE: 2, LSC: 4, RXDMT0: 0x10, RXO: 0x40, RXT0: 0x80, MDAC: 0x200 } as const;
export const ICR_MASK = 0x1_ffff;
export const RCTL = {
  EN: 1 << 1,
  UPE: 1 << 3,
  MPE: 1 << 4,
  LPE: 1 << 5,
  BAM: 1 << 15,
  VFE: 1 << 18,
  BSEX: 1 << 25,
  SECRC: 1 << 26,
} as const;
export const TCTL = { EN: 1 << 1, PSP: 1 << 3 } as const;
export const RXCSUM = { IPOFLD: 1 << 8, TUOFLD: 1 << 9 } as const;
export const RAH_AV = 0x8000_0000;

/** Statistics count up to all ones, and reading clears them. */
export const STATISTICS = { first: 0x4000, words: 64 } as const;
export const STAT = {
  MPC: 0x4010,
  PRC64: 0x405c,
  GPRC: 0x4074,
  BPRC: 0x4078,
  MPRC: 0x407c,
  GPTC: 0x4080,
  GORCL: 0x4088,
  GOTCL: 0x4090,
  RNBC: 0x40a0,
  TORL: 0x40c0,
  TOTL: 0x40c8,
  TPR: 0x40d0,
  TPT: 0x40d4,
  PTC64: 0x40d8,
  MPTC: 0x40f0,
  BPTC: 0x40f4,
  TSCTC: 0x40f8,
} as const;
export const MAX_COUNT = 0xffff_ffff;
