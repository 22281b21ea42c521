import { describe, expect, it } from "vitest";
import { gdbCommand, parseGdb } from "./gdb-choice.ts";

describe("--gdb", () => {
  it.each([
    ["unix:/tmp/a,b", { address: { kind: "unix", path: "/tmp/a,b" }, isWaiting: false }, "target remote /tmp/a,b"],
    ["unix:gdb.sock,wait", { address: { kind: "unix", path: "gdb.sock" }, isWaiting: true }, "target remote gdb.sock"],
    ["tcp:1234", { address: { kind: "tcp", port: 1234 }, isWaiting: false }, "target remote 127.0.0.1:1234"],
    ["tcp:::1:0,wait", { address: { kind: "tcp", host: "::1", port: 0 }, isWaiting: true }, "target remote ::1:0"],
  ] as const)("%s", (text, choice, command) => {
    expect(parseGdb(text)).toEqual(choice);
    expect(gdbCommand(choice.address)).toBe(command);
  });

  it.each(["1234", "unix:", "tcp:70000", "tcp:host", ",wait", ""])("%s is no place", (text) => {
    expect(() => parseGdb(text)).toThrow(/is no place for GDB\. Give unix:PATH or tcp:\[HOST:\]PORT/);
  });
});
