import { describe, expect, it } from "vitest";
import { UsageError } from "./usage-error.ts";
import { parseVsock } from "./vsock-choice.ts";

describe("--vsock", () => {
  it("is an address, and a path", () => {
    expect(parseVsock("3")).toEqual({ cid: 3 });
    expect(parseVsock("77,uds=/tmp/a,b")).toEqual({ cid: 77, socketPath: "/tmp/a,b" });
  });

  it.each(["", "2", "x", "4294967295", "3,path=x", "3,uds=", "3.5"])("refuses %s", (text) => {
    expect(() => parseVsock(text)).toThrow(UsageError);
  });
});
