/**
 * What an operand of a form is for one operand size: its kind, width, and, for registers, where it lies in the state
 * block. The decoder asks for each instruction, so forms keep these answers in tables.
 */
import * as L from "../cpu/layout.ts";
import type { OperandSpec } from "./form.ts";
import type { OperandKind, OperandShape } from "./semantics.ts";

/** Operand width in bits, from its size letter and the operand size; 0: the semantics decide. */
export function operandWidth(spec: OperandSpec, osz: number): number {
  switch (spec.size) {
    case "b":
      return 8;
    case "w":
      return 16;
    case "d":
      return 32;
    case "q":
      return 64;
    case "y":
      return osz === 64 ? 64 : 32;
    case "x":
      return 128;
    case "t":
      return 80;
    case "z":
      return spec.type === "I" ? osz : Math.min(osz, 32);
    case "v":
    case "bs":
      return osz;
    default:
      return 0;
  }
}

const KINDS: Readonly<Record<string, OperandKind>> = {
  G: "r",
  B: "r",
  R: "r",
  Z: "r",
  V: "x",
  U: "x",
  P: "p",
  N: "p",
  S: "s",
  C: "c",
  D: "d",
  F: "f",
  M: "m",
};

export function operandShape(spec: OperandSpec, osz: number, memory: boolean): OperandShape {
  const width = operandWidth(spec, osz);
  switch (spec.type) {
    case "E":
      return { kind: memory ? "m" : "r", width };
    case "W":
      return { kind: memory ? "m" : "x", width };
    case "Q":
      return { kind: memory ? "m" : "p", width };
    case "I":
      return { kind: "i", width, ...(spec.size === "v" && osz === 64 && { isWide: true }) };
    case "J":
      return { kind: "j", width: 0 };
    case "A":
      return { kind: "i", width: 0, isWide: true };
    case "O":
      return { kind: "i", width: 64, isWide: true };
    case "fixed":
      if (spec.fixed?.file === "segment") return { kind: "s", width };
      return { kind: spec.fixed?.file === "one" ? "i" : "r", width };
    default:
      return { kind: KINDS[spec.type] ?? "r", width };
  }
}

/** State-block offset of register 0 of a kind, and bytes between registers; for control, debug and ST registers: numbers. */
export function registerPlace(kind: OperandKind): { readonly first: number; readonly stride: number } {
  switch (kind) {
    case "x":
      return { first: L.XMM, stride: 16 };
    case "p":
      return { first: L.X87, stride: 16 };
    case "s":
      return { first: L.SEGMENTS, stride: 32 };
    case "r":
      return { first: L.GPR, stride: 8 };
    default:
      return { first: 0, stride: 1 };
  }
}
