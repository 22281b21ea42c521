import { beforeAll, describe, expect, it } from "vitest";
import { type BareMachine, bareMachine, HANDLERS } from "../../interp/bare-machine.ts";

const EXC_UD = 6;
const EXC_NM = 7;
const EXC_GP = 13;
const EXC_XM = 19;
const CR0_EM = 4n;
const CR0_TS = 8n;
const CR4_OSFXSR = 0x200n;
const CR4_OSXMMEXCPT = 0x400n;
const HLT = 0xf4;
const DATA = 0x200000;

const HADDPS = [0xf2, 0x0f, 0x7c, 0xc1];
const PSHUFB_XMM = [0x66, 0x0f, 0x38, 0x00, 0xc1];
const PSHUFB_MMX = [0x0f, 0x38, 0x00, 0xc1];
const PTEST = [0x66, 0x0f, 0x38, 0x17, 0xc1];
const PCMPISTRI = [0x66, 0x0f, 0x3a, 0x63, 0xc1, 0x00];
const CRC32_EAX_CL = [0xf2, 0x0f, 0x38, 0xf0, 0xc1];
const AESENC = [0x66, 0x0f, 0x38, 0xdc, 0xc1];
const PCLMULQDQ = [0x66, 0x0f, 0x3a, 0x44, 0xc1, 0x00];
const SHA256RNDS2 = [0x0f, 0x38, 0xcb, 0xca];
/** dpps xmm0, xmm1, 0xff */
const DPPS = [0x66, 0x0f, 0x3a, 0x40, 0xc1, 0xff];
/** movdqu xmm0, [rdi]; movdqu xmm1, [rdi+16]; movdqu xmm2, [rdi+32] */
const LOADS = [0xf3, 0x0f, 0x6f, 0x07, 0xf3, 0x0f, 0x6f, 0x4f, 0x10, 0xf3, 0x0f, 0x6f, 0x57, 0x20];
/** movdqu [rdi+64], xmm0; movdqu [rdi+80], xmm1 */
const STORES = [0xf3, 0x0f, 0x7f, 0x47, 0x40, 0xf3, 0x0f, 0x7f, 0x4f, 0x50];

function machine(cpuFeatures: readonly string[] = ["aes", "pclmulqdq", "sha"]): BareMachine {
  const m = bareMachine({}, { cpuFeatures });
  m.change((s) => {
    s.cr4 |= CR4_OSFXSR | CR4_OSXMMEXCPT;
  });
  return m;
}

/** Runs code with RDI at DATA; the vector of the exception that ended it, or null. */
function run(m: BareMachine, ...code: readonly (readonly number[])[]): number | null {
  m.load([...code.flat(), HLT]);
  m.change((s) => {
    s.gpr[7] = BigInt(DATA);
    s.halted = false;
  });
  expect(m.vcpu.run(1000).reason).toBe("halt");
  const handler = Number(m.state().rip) - 1 - HANDLERS;
  return handler >= 0 && handler < 32 * 16 ? handler >> 4 : null;
}

function put(m: BareMachine, ...vectors: readonly bigint[]): void {
  for (const [i, v] of vectors.entries()) {
    m.memory.write64(DATA + 16 * i, BigInt.asUintN(64, v));
    m.memory.write64(DATA + 16 * i + 8, v >> 64n);
  }
}
const vectorAt = (m: BareMachine, offset: number): bigint =>
  (m.memory.read64(DATA + offset) ?? 0n) | ((m.memory.read64(DATA + offset + 8) ?? 0n) << 64n);
/** The vector whose bytes in memory are these, as FIPS 197 prints them. */
const ofBytes = (hex: string): bigint => BigInt(`0x${(hex.match(/../g) ?? []).reverse().join("")}`);

const ON_XMM: readonly (readonly [string, readonly number[]])[] = [
  ["HADDPS", HADDPS],
  ["PSHUFB", PSHUFB_XMM],
  ["PTEST", PTEST],
  ["PCMPISTRI", PCMPISTRI],
  ["AESENC", AESENC],
  ["PCLMULQDQ", PCLMULQDQ],
  ["SHA256RNDS2", SHA256RNDS2],
];

describe("vector extensions", () => {
  // The first machine compiles the core module, which a busy host may take its time for.
  beforeAll(() => void machine(), 60_000);

  it.each(ON_XMM)("%s is checked as SSE2 is", (_, code) => {
    const m = machine();
    expect(run(m, code)).toBeNull();
    m.change((s) => {
      s.cr0 |= CR0_TS;
    });
    expect(run(m, code)).toBe(EXC_NM);
    m.change((s) => {
      s.cr4 &= ~CR4_OSFXSR;
    });
    expect(run(m, code)).toBe(EXC_UD);
    m.change((s) => {
      s.cr0 = (s.cr0 & ~CR0_TS) | CR0_EM;
      s.cr4 |= CR4_OSFXSR;
    });
    expect(run(m, code)).toBe(EXC_UD);
  });

  it("checks SSSE3 on MMX registers as MMX, and CRC32 not at all", () => {
    const m = machine();
    m.change((s) => {
      s.cr4 &= ~CR4_OSFXSR;
    });
    expect(run(m, PSHUFB_MMX)).toBeNull();
    m.change((s) => {
      s.cr0 |= CR0_TS;
    });
    expect(run(m, PSHUFB_MMX)).toBe(EXC_NM);
    m.change((s) => {
      s.cr0 |= CR0_EM;
    });
    expect(run(m, PSHUFB_MMX)).toBe(EXC_UD);
    expect(run(m, CRC32_EAX_CL)).toBeNull();
  });

  it("has AES, PCLMULQDQ and SHA only where they were asked for", () => {
    const m = machine([]);
    expect(run(m, PTEST)).toBeNull();
    for (const code of [AESENC, PCLMULQDQ, SHA256RNDS2]) expect(run(m, code)).toBe(EXC_UD);
  });

  it("wants aligned operands, except LDDQU, PCMPISTRI and single lanes", () => {
    const m = machine();
    const at1 = [0x47, 0x01];
    // haddps, pshufb, aesenc, sha1msg1 xmm0, [rdi+1]
    for (const opcode of [
      [0xf2, 0x0f, 0x7c],
      [0x66, 0x0f, 0x38, 0x00],
      [0x66, 0x0f, 0x38, 0xdc],
      [0x0f, 0x38, 0xc9],
    ])
      expect(run(m, opcode, at1)).toBe(EXC_GP);
    // lddqu, movddup, pmovzxbw, roundss xmm0, [rdi+1]; pcmpistri
    for (const opcode of [
      [0xf2, 0x0f, 0xf0],
      [0xf2, 0x0f, 0x12],
      [0x66, 0x0f, 0x38, 0x30],
    ])
      expect(run(m, opcode, at1)).toBeNull();
    for (const opcode of [0x0a, 0x21, 0x63]) expect(run(m, [0x66, 0x0f, 0x3a, opcode], at1, [0])).toBeNull();
  });

  it("encrypts and decrypts a round as FIPS 197, appendix B, does", () => {
    const m = machine();
    const [before, roundKey, after] = [
      ofBytes("193de3bea0f4e22b9ac68d2ae9f84808"),
      ofBytes("a0fafe1788542cb123a339392a6c7605"),
      ofBytes("a49c7ff2689f352b6b5bea43026a5049"),
    ];
    put(m, before, roundKey, 0n);
    expect(run(m, LOADS, AESENC, STORES)).toBeNull();
    expect(vectorAt(m, 64)).toBe(after);
    // Without the last step of the key, the inverse cipher's steps lead back: InvMixColumns, then the last round.
    put(m, after ^ roundKey, 0n, 0n);
    const AESIMC_XMM0 = [0x66, 0x0f, 0x38, 0xdb, 0xc0];
    const AESDECLAST_XMM0_XMM1 = [0x66, 0x0f, 0x38, 0xdf, 0xc1];
    expect(run(m, LOADS, AESIMC_XMM0, AESDECLAST_XMM0_XMM1, STORES)).toBeNull();
    expect(vectorAt(m, 64)).toBe(before);
  });

  it("makes round keys as FIPS 197, appendix A.1, does", () => {
    const m = machine();
    put(m, ofBytes("2b7e151628aed2a6abf7158809cf4f3c"), 0n, 0n);
    // aeskeygenassist xmm0, xmm0, 1
    expect(run(m, LOADS, [0x66, 0x0f, 0x3a, 0xdf, 0xc0, 0x01], STORES)).toBeNull();
    // SubWord(RotWord(09cf4f3c)) with the constant: 8b84eb01.
    expect(vectorAt(m, 64) >> 96n).toBe(ofBytes("8b84eb01"));
  });

  it("computes CRC-32C of the check string", () => {
    const m = machine();
    const text = Array.from("123456789", (c) => c.charCodeAt(0));
    m.change((s) => {
      s.gpr[0] = 0xffffffffn;
    });
    // mov cl, imm8; crc32 eax, cl
    expect(run(m, ...text.map((c) => [0xb1, c, ...CRC32_EAX_CL]))).toBeNull();
    expect(m.state().gpr[0]).toBe(BigInt(~0xe3069283 >>> 0));
  });

  it("finds a string in another, as far as the vector goes", () => {
    const m = machine();
    put(m, ofBytes("61620000000000000000000000000000"), ofBytes("78616162616261787878787878787861"), 0n);
    // pcmpistri xmm0, xmm1, 0x0c (equal ordered), then 0x4c for the last place: "a" at the end may go on.
    expect(run(m, LOADS, [0x66, 0x0f, 0x3a, 0x63, 0xc1, 0x0c])).toBeNull();
    expect(m.state().gpr[1]).toBe(2n);
    expect(run(m, LOADS, [0x66, 0x0f, 0x3a, 0x63, 0xc1, 0x4c])).toBeNull();
    expect(m.state().gpr[1]).toBe(15n);
  });

  it("ends DPPS after the products when one of them raises an unmasked exception", () => {
    const m = machine();
    const [huge, one] = [0x7f000000n, 0x3f800000n];
    // Products: overflow, three ones. Sums would be inexact.
    put(m, huge | (one << 32n) | (one << 64n) | (one << 96n), huge | (one << 32n) | (one << 64n) | (one << 96n), 0n);
    m.memory.write32(DATA + 48, 0x1f80 & ~0x400);
    // ldmxcsr [rdi+48]; stmxcsr [rdi+52] in the end
    const LDMXCSR = [0x0f, 0xae, 0x57, 0x30];
    expect(run(m, LDMXCSR, LOADS, DPPS)).toBe(EXC_XM);
    expect(run(m, [0x0f, 0xae, 0x5f, 0x34], STORES)).toBeNull();
    expect((m.memory.read32(DATA + 52) ?? 0) & 0x3f).toBe(0x08);
    expect(vectorAt(m, 64)).toBe(huge | (one << 32n) | (one << 64n) | (one << 96n));
  });
});
