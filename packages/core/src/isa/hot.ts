/**
 * Handlers that stand in line in the interpreter's dispatcher, chosen by how often they run in a boot and in programs.
 * The dispatcher must stay below about 60 KB of WebAssembly (one large function takes seconds to optimise); a test
 * holds that.
 */
const HOT: readonly RegExp[] = [
  /^mov (r32 r32|r64 r64|r32 m32|r64 m64|m32 r32|m64 r64|m8 r8|r32 i32|r64 i64|m32 i32|m64 i64|m8 i8|r8 m8)$/,
  /^(add|sub|and|or|xor|cmp) (r32 r32|r64 r64|r32 i32|r64 i64|r32 m32|r64 m64)$/,
  /^cmp (m32 i32|m64 r64|m32 r32|m64 r64|m8 i8|r8 i8|r8 r8|m64 i64)$/,
  /^cmp (m8 r8|r8 m8|r16 r16|m16 i16)$/,
  /^(or|and|xor) (r8 r8|m32 r32|m64 r64)$/,
  /^(add|sub) (m32 r32|m64 r64|m32 i32|m64 i64)$/,
  /^mov (m16 r16|m16 i16)$/,
  /^nop( [mr]\d+)?$/,
  /^(shl|shr|sar) r(32|64) r8$/,
  /^movsx (r32|r64) [mr]8$/,
  /^test (r32 r32|r64 r64|r8 r8|r8 i8|r32 i32|m8 i8)$/,
  /^lea (r32|r64) m$/,
  /^(inc|dec) (r32|r64)$/,
  /^movzx (r32 m8|r32 r8|r32 m16|r32 r16)$/,
  /^movsxd r64 (r32|m32)$/,
  /^(shl|shr|sar) (r32|r64) i8$/,
  /^imul3? r(32|64) (r32|r64|r32 i32|r64 i64)$/,
  /^j[a-z]+ j( o\d+)?( long)?$/,
  /^(jmp|call) (j|r64|m64)( o64)? long$/,
  /^ret o64 long$/,
  /^(push|pop) r64( o64)? long$/,
  /^(movaps (x128 x128|x128 m128|m128 x128)|movups (x128 m128|m128 x128)|movdqa (x128 m128|m128 x128)|movdqu (x128 m128|m128 x128)|movsd (x64 m64|m64 x64)|pxor_xmm x128 x128)$/,
];

/** Of 32-bit code with flat segments: what differs there, because it has to do with memory or with addresses of code. */
const HOT_WHEN_FLAT: readonly RegExp[] = [
  /^mov (r32 m32|m32 r32|r8 m8|m8 r8|m32 i32|m8 i8|m16 r16|m16 i16)$/,
  /^(add|sub|and|or|xor|cmp) r32 m32$/,
  /^(add|sub|and|or|xor) m32 (r32|i32)$/,
  /^cmp (m32 i32|m32 r32|m8 i8|m8 r8|r8 m8|m16 i16)$/,
  /^test (m8 i8|m32 r32)$/,
  /^lea r32 m$/,
  /^(inc|dec) m32$/,
  /^(movzx|movsx) r32 m(8|16)$/,
  /^imul r32 m32$/,
  /^j[a-z]+ j o32 legacy$/,
  /^(jmp|call) (j|r32|m32) o32 legacy$/,
  /^ret o32 legacy$/,
  /^(push|pop) r32 o32 legacy$/,
  /^push (i32|m32) o32 legacy$/,
  /^leave o32 legacy$/,
];

export function isHot(key: string): boolean {
  return HOT.some((pattern) => pattern.test(key));
}

export function isHotWhenFlat(key: string): boolean {
  return HOT_WHEN_FLAT.some((pattern) => pattern.test(key));
}
