/** A guest for debuggers: it counts in EBX and stores the count, five times; then it turns itself off. */
import { bareKernel } from "./bare-kernel.ts";

/** Where its code is, and the instructions in it. */
export const ENTRY = 0x20_0200n;
export const AT = {
  start: ENTRY,
  second: ENTRY + 5n,
  increment: ENTRY + 10n,
  store: ENTRY + 12n,
  compare: ENTRY + 14n,
};
export const COUNT_AT = 0x30_0000n;

export const DEBUGGED: Uint8Array = bareKernel([
  ...[0xbb, 0, 0, 0, 0], // mov ebx, 0
  ...[0xb8, 0, 0, 0x30, 0], // mov eax, 300000H
  ...[0xff, 0xc3], // next: inc ebx
  ...[0x89, 0x18], // mov [rax], ebx
  ...[0x83, 0xfb, 0x05], // cmp ebx, 5
  ...[0x75, 0xf7], // jne next
  ...[0x66, 0xba, 0x04, 0x06, 0x66, 0xb8, 0x00, 0x3c, 0x66, 0xef], // off by ACPI
  ...[0xf4, 0xeb, 0xfd], // hlt, for ever
]);
