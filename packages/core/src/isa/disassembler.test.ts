import { describe, expect, it } from "vitest";
import { type CodeSize, Decoder } from "./decoder.ts";
import { disassemble } from "./disassembler.ts";
import { RECORDS } from "./record.ts";
import "./records/index.ts";

const decoder = new Decoder(RECORDS);

function text(hex: string, size: CodeSize = 64, ip = 0x1000n): string {
  const code = Uint8Array.from(hex.split(" "), (byte) => Number.parseInt(byte, 16));
  const status = decoder.decode(code, 0, code.length, size);
  return status === "ok" ? disassemble(decoder, ip) : status;
}

describe("disassembler", () => {
  it("writes Intel's operand order, sizes and addresses", () => {
    expect(text("f0 64 48 01 4c 8b f0")).toBe("lock add qword ptr fs:[rbx+rcx*4-0x10], rcx");
    expect(text("8b 05 10 00 00 00")).toBe("mov eax, dword ptr [rip+0x10]");
    expect(text("48 8d 04 25 f0 ff ff ff")).toBe("lea rax, [0xfffffffffffffff0]");
    expect(text("48 83 c0 ff")).toBe("add rax, 0xffffffffffffffff");
    expect(text("26 8a 07", 32)).toBe("mov al, byte ptr es:[edi]");
    expect(text("ea 34 12 00 f0", 16)).toBe("jmp 0xf000:0x1234");
  });

  it("names what depends on sizes", () => {
    expect(["66 98", "98", "48 98"].map((code) => text(code))).toEqual(["cbw", "cwde", "cdqe"]);
    expect(text("f3 48 a5")).toBe("rep movsq qword ptr [rdi], qword ptr [rsi]");
    expect(text("67 e3 fe")).toBe("jecxz 0x1001");
    expect(text("74 fe")).toBe("je 0x1000");
  });

  it("keeps apart what shares an opcode", () => {
    expect(text("90")).toBe("nop");
    expect(text("f3 90")).toBe("pause");
    expect(text("41 90")).toBe("xchg r8d, eax");
    expect(text("63 c3")).toBe("movsxd eax, ebx");
    expect(text("63 c3", 32)).toBe("arpl ebx, eax");
  });
});

describe("decoder", () => {
  it("tells apart too few bytes, too many, and none of ours", () => {
    expect(text("48")).toBe("short");
    expect(text("66 ".repeat(15).trim())).toBe("long");
    expect(text("f0 01 c8")).toBe("invalid");
    expect(text("06")).toBe("invalid");
  });

  it("counts REX only right before the opcode", () => {
    expect(text("48 66 ff c0")).toBe("inc ax");
    expect(text("66 48 ff c0")).toBe("inc rax");
  });
});
