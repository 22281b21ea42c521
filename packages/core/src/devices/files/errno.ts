/** Error numbers as Linux on x86-64 has them (asm-generic/errno.h): what both file protocols carry. */
export const ERRNO = {
  PERM: 1,
  NOENT: 2,
  IO: 5,
  BADF: 9,
  NOMEM: 12,
  ACCES: 13,
  EXIST: 17,
  NOTDIR: 20,
  ISDIR: 21,
  INVAL: 22,
  NFILE: 23,
  MFILE: 24,
  FBIG: 27,
  ROFS: 30,
  RANGE: 34,
  NAMETOOLONG: 36,
  NOSYS: 38,
  OVERFLOW: 75,
  OPNOTSUPP: 95,
  STALE: 116,
} as const;

export const MAX_ERRNO = 4095;
