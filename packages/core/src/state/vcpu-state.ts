/**
 * The saved form of a vCPU: its architectural state under the manual's register names (section "vcpu0", schema "vcpu",
 * version 2; version 1 had no PDPTEs). Nothing of an engine is in it, so any engine can go on from it.
 */
import type { DescriptorTable, SegmentRegister, VcpuState } from "../cpu/state.ts";
import type { StateValue } from "../devices/device.ts";
import { StateReader } from "./reader.ts";

/** The version that is written. All from 1 on are read. */
export const VCPU_SCHEMA: { readonly id: string; readonly version: number } = { id: "vcpu", version: 2 };

const GPR = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi"].concat(
  Array.from({ length: 8 }, (_, i) => `r${i + 8}`),
);
const PDPTE = ["pdpte0", "pdpte1", "pdpte2", "pdpte3"];
const DR = ["dr0", "dr1", "dr2", "dr3", "dr6", "dr7"];
const SEGMENTS = ["es", "cs", "ss", "ds", "fs", "gs", "ldtr", "tr"] as const;
const TABLES = ["gdtr", "idtr"] as const;
const CONTROL = ["rip", "rflags", "cr0", "cr2", "cr3", "cr4", "cr8", "xcr0"] as const;
const FXSAVE_BYTES = 512;
const MAX_MSRS = 1024;
/** Descriptor bits 40-55 and the unusable bit. */
const MAX_ATTRIBUTES = 0x1_ffff;

export function vcpuToState(vcpu: VcpuState): StateValue {
  const out: Record<string, StateValue> = {
    gpr: named(GPR, vcpu.gpr),
    pdptes: named(PDPTE, vcpu.pdptes),
    dr: named(DR, vcpu.dr),
    fxsave: vcpu.fxsave,
    msrs: vcpu.msrs,
    halted: vcpu.halted,
    interruptShadow: vcpu.interruptShadow,
    nmiPending: vcpu.nmiPending,
    nmiMasked: vcpu.nmiMasked,
    retired: vcpu.retired,
  };
  for (const name of CONTROL) out[name] = vcpu[name];
  for (const name of SEGMENTS) {
    const { selector, base, limit, attributes } = vcpu[name];
    out[name] = { selector, base, limit, attributes };
  }
  for (const name of TABLES) out[name] = { base: vcpu[name].base, limit: vcpu[name].limit };
  return out;
}

/** Throws StateError. `version`: of the schema. Checks form and range; whether the combination is a possible processor state is the engine's part. */
export function vcpuFromState(state: StateValue, path: string, version: number = VCPU_SCHEMA.version): VcpuState {
  const reader = new StateReader(state, path);
  const msrReader = reader.object("msrs");
  const msrs: Record<string, bigint> = {};
  const indices = Object.keys(reader.part("msrs") as object);
  if (indices.length > MAX_MSRS) throw reader.invalid("msrs", `has ${indices.length} registers`);
  for (const index of indices) {
    if (!/^(0|[1-9]\d{0,9})$/.test(index) || Number(index) > 0xffff_ffff) {
      throw reader.invalid("msrs", `has the index ${JSON.stringify(index)}`);
    }
    msrs[index] = msrReader.u64(index);
  }
  const control = Object.fromEntries(CONTROL.map((name) => [name, reader.u64(name)])) as Pick<
    VcpuState,
    (typeof CONTROL)[number]
  >;
  const segments = Object.fromEntries(SEGMENTS.map((name) => [name, segment(reader.object(name))])) as Pick<
    VcpuState,
    (typeof SEGMENTS)[number]
  >;
  const tables = Object.fromEntries(TABLES.map((name) => [name, table(reader.object(name))])) as Pick<
    VcpuState,
    (typeof TABLES)[number]
  >;
  const vcpu: VcpuState = {
    gpr: values(GPR, reader.object("gpr")),
    pdptes: version === 1 ? PDPTE.map(() => 0n) : values(PDPTE, reader.object("pdptes")),
    dr: values(DR, reader.object("dr")),
    ...control,
    ...segments,
    ...tables,
    fxsave: reader.bytesExact("fxsave", FXSAVE_BYTES),
    msrs,
    halted: reader.bool("halted"),
    interruptShadow: reader.oneOf("interruptShadow", ["none", "sti", "mov-ss"]),
    nmiPending: reader.bool("nmiPending"),
    nmiMasked: reader.bool("nmiMasked"),
    retired: reader.int("retired", 0, Number.MAX_SAFE_INTEGER),
  };
  reader.end();
  return vcpu;
}

function named(names: readonly string[], registers: readonly bigint[]): StateValue {
  return Object.fromEntries(names.map((name, i) => [name, registers[i] ?? 0n]));
}

function values(names: readonly string[], reader: StateReader): bigint[] {
  const registers = names.map((name) => reader.u64(name));
  reader.end();
  return registers;
}

function segment(reader: StateReader): SegmentRegister {
  const register = {
    selector: reader.u16("selector"),
    base: reader.u64("base"),
    limit: reader.u32("limit"),
    attributes: reader.int("attributes", 0, MAX_ATTRIBUTES),
  };
  reader.end();
  return register;
}

function table(reader: StateReader): DescriptorTable {
  const register = { base: reader.u64("base"), limit: reader.u16("limit") };
  reader.end();
  return register;
}
